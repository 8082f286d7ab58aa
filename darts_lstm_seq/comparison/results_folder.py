"""The folder that a comparison of many series writes its results to, and resumes from.

Each chunk of series leaves two tables in `parts`, written atomically. Series are identified by a
fingerprint of their content, so that a changed series is evaluated again. What the rows mean is
described in `compare.py`.
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
# read as text: a name such as "1" or "NA" is neither a number nor missing
_TEXT_COLUMNS = ("series", "model", "component")


def fingerprint(name: Any, series: TimeSeries) -> str:
    """Return a short hash of a series: its name, time index, values and static covariates.

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
    identity = [name, start, series.freq_str, series.shape, list(series.components)]
    identity.append(None if statics is None else statics.to_csv())
    digest = hashlib.sha1(repr(identity).encode(), usedforsecurity=False)
    digest.update(series.all_values(copy=False).tobytes())
    return digest.hexdigest()[:16]


class ResultsFolder:
    """The tables of a comparison of many series, on disk.

    Parameters
    ----------
    path
        The folder; it is created if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._parts = self._path / "parts"
        self._path.mkdir(parents=True, exist_ok=True)

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Store the settings of a comparison, or compare them with those that are stored.

        Raises
        ------
        ValueError
            If the folder holds results of other settings, or if its settings cannot be read.
        """
        self._parts.mkdir(exist_ok=True)
        # the address in the `repr` of an object differs between processes
        text = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(settings, indent=1, default=repr))
        file = self._path / _SETTINGS
        current = json.loads(text)
        stored = self._read_settings(file) if file.exists() else current
        if stored != current:
            changed = [k for k in stored | current if stored.get(k) != current.get(k)]
            raise ValueError(
                f"`out` ({self._path}) holds the results of a comparison with {changed[0]} = "
                f"{stored.get(changed[0])!r}, not {current.get(changed[0])!r}. Name another "
                f"folder, or delete it."
            )
        _write(file, text)

    def _read_settings(self, file: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{file} is damaged, so the settings of the results in `out` are unknown. Name "
                f"another folder, or delete this one. Reason: {error}"
            ) from error

    def add(self, scores: pd.DataFrame, forecasts: pd.DataFrame) -> None:
        """Store the rows of a chunk, whose column `series` holds fingerprints."""
        name = uuid.uuid4().hex
        _write(self._parts / f"{name}.forecasts.csv", forecasts.to_csv(index=False))
        # last, so that scores never lack their forecasts
        _write(self._parts / f"{name}.scores.csv", scores.to_csv(index=False))

    def scores(self, fingerprints: Collection[str]) -> pd.DataFrame:
        """Return the stored rows of the series with these fingerprints."""
        tables = [scores for scores, _ in self._chunks()]
        table = pd.concat(tables) if tables else pd.DataFrame(columns=["series", "model"])
        table = table[table["series"].isin(fingerprints)]
        return table.drop_duplicates(["series", "model"]).reset_index(drop=True)

    def forecasts(self, fingerprints: Collection[str]) -> Iterator[pd.DataFrame]:
        """Yield the stored forecasts of these series chunk by chunk, in their order."""
        positions = {key: number for number, key in enumerate(fingerprints)}
        chunks = []
        for scores, file in self._chunks():
            wanted = [positions[key] for key in scores["series"] if key in positions]
            if wanted:
                chunks.append((min(wanted), file.name))
        yielded: set[str] = set()
        for _, name in sorted(chunks):
            table = _read(self._parts / name)
            new = positions.keys() & set(table["series"]) - yielded
            yielded |= new
            yield table[table["series"].isin(new)]

    def _chunks(self) -> Iterator[tuple[pd.DataFrame, Path]]:
        """Yield the scores of each complete chunk, and the file of its forecasts."""
        for path in sorted(self._parts.glob("*.scores.csv")):
            forecasts = path.with_name(path.name.replace(".scores.", ".forecasts."))
            if path.stat().st_size and forecasts.exists() and forecasts.stat().st_size:
                yield _read(path), forecasts

    def write_tables(self, tables: dict[str, pd.DataFrame | Iterator[pd.DataFrame]]) -> None:
        """Write tables to files of these names; a table may come in parts, one after another."""
        for name, table in tables.items():
            parts = [table] if isinstance(table, pd.DataFrame) else table
            with (
                atomic_write(self._path / name) as temporary,
                open(temporary, "w", encoding="utf-8", newline="") as file,
            ):
                for index, part in enumerate(parts):
                    part.to_csv(file, index=False, header=index == 0)


def _read(path: Path) -> pd.DataFrame:
    converters = dict.fromkeys(_TEXT_COLUMNS, str)
    return pd.read_csv(path, converters=converters, float_precision="round_trip")


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
