"""A folder that a long comparison fills while it runs, and from which a second start goes on.

Each chunk leaves two tables in `parts`, which appear whole or not at all; a series is known by what
is in it, so that a changed series is run again. What the rows mean is in `comparison.py`.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from darts import TimeSeries

from darts_lstm_seq.files import atomic_write

_SETTINGS = "settings.json"
# columns of names: one such as "1" or "NA" is neither a number nor missing
_NAMES = ("series", "model", "component")


def fingerprint(name: Any, series: TimeSeries) -> str:
    """Return a short text that changes with the name of a series, or with anything in it.

    Examples
    --------
    >>> from darts_lstm_seq.data import nile
    >>> from darts_lstm_seq.comparison.results_folder import fingerprint
    >>> fingerprint(0, nile()) == fingerprint(0, nile())
    True
    >>> fingerprint(0, nile()) == fingerprint(0, nile()[1:])
    False
    """
    start = series.start_time() if len(series) else None
    statics = series.static_covariates
    told = [name, start, series.freq_str, series.shape, list(series.components)]
    told.append(None if statics is None else statics.to_csv())
    digest = hashlib.sha1(repr(told).encode(), usedforsecurity=False)
    digest.update(series.all_values(copy=False).tobytes())
    return digest.hexdigest()[:16]


class ResultsFolder:
    """The tables of a comparison of many series, on disk.

    Parameters
    ----------
    path
        The folder; it is made if there is none.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._parts = self._path / "parts"
        self._path.mkdir(parents=True, exist_ok=True)

    def keep_to(self, settings: dict[str, Any]) -> None:
        """Note what the results depend on besides the series.

        Raises
        ------
        ValueError
            If the folder holds results of other settings, or does not say of which.
        """
        self._parts.mkdir(exist_ok=True)
        # an address says nothing about a model, and differs with every start
        told = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(settings, indent=1, default=repr))
        file = self._path / _SETTINGS
        now = json.loads(told)
        before = self._settings(file) if file.exists() else now
        if before != now:
            name = next(name for name in before | now if before.get(name) != now.get(name))
            raise ValueError(
                f"`out` ({self._path}) holds the results of a comparison with {name} = "
                f"{before.get(name)!r}, not {now.get(name)!r}. Name another folder, or delete it."
            )
        _write(file, told)

    def _settings(self, file: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{file} is damaged: nobody knows what the results in `out` depend on. Name "
                f"another folder, or delete this one. Reason: {error}"
            ) from error

    def add(self, scores: pd.DataFrame, forecasts: pd.DataFrame) -> None:
        """Keep the rows of a chunk, whose column `series` holds fingerprints."""
        name = uuid.uuid4().hex
        _write(self._parts / f"{name}.forecasts.csv", forecasts.to_csv(index=False))
        # comes last: where scores are, forecasts are
        _write(self._parts / f"{name}.scores.csv", scores.to_csv(index=False))

    def scores(self, known: Collection[str]) -> pd.DataFrame:
        """Return the rows of the series with these fingerprints, as far as they are there."""
        found = [scores for scores, _ in self._chunks()]
        table = pd.concat(found) if found else pd.DataFrame(columns=["series", "model"])
        table = table[table["series"].isin(known)]
        return table.drop_duplicates(["series", "model"]).reset_index(drop=True)

    def forecasts(self, known: Collection[str]) -> Iterator[pd.DataFrame]:
        """Yield the forecasts of the series with these fingerprints, chunk by chunk, in order."""
        place = {key: number for number, key in enumerate(known)}
        chunks = []
        for scores, file in self._chunks():
            places = [place[key] for key in scores["series"] if key in place]
            if places:
                chunks.append((min(places), file.name))
        seen: set[str] = set()
        for _, name in sorted(chunks):
            found = _read(self._parts / name)
            new = place.keys() & set(found["series"]) - seen
            seen |= new
            yield found[found["series"].isin(new)]

    def _chunks(self) -> Iterator[tuple[pd.DataFrame, Path]]:
        """Yield the scores of each chunk, and the file of its forecasts; not of damaged ones."""
        for path in sorted(self._parts.glob("*.scores.csv")):
            forecasts = path.with_name(path.name.replace(".scores.", ".forecasts."))
            if path.stat().st_size and forecasts.exists() and forecasts.stat().st_size:
                yield _read(path), forecasts

    def finish(self, tables: dict[str, pd.DataFrame | Iterator[pd.DataFrame]]) -> None:
        """Write tables, or their parts one after another, to files of these names."""
        for name, table in tables.items():
            with (
                atomic_write(self._path / name) as temporary,
                open(temporary, "w", encoding="utf-8", newline="") as file,
            ):
                parts = [table] if isinstance(table, pd.DataFrame) else table
                for index, part in enumerate(parts):
                    part.to_csv(file, index=False, header=index == 0)


def _read(path: Path) -> pd.DataFrame:
    converters = dict.fromkeys(_NAMES, str)
    return pd.read_csv(path, converters=converters, float_precision="round_trip")


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
