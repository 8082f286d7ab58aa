"""The folder that a comparison writes its results to, and resumes from.

Each chunk of series and model leaves a file in `parts`: its scores and its forecasts, as JSON,
named by a checksum of the content. Files that disagree with their name are ignored, so that their
series are evaluated again. What identifies series and models is in `identity.py`; what the rows
mean is described in `compare.py`.
"""

import hashlib
import json
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from logging import getLogger
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from darts_lstm_seq.files import atomic_write, remove_leftovers

logger = getLogger(__name__)

_SETTINGS = "settings.json"
_LOCK, _OWNER = ".lock", ".in_use_since.txt"

# series whose forecasts are in memory at a time
_BLOCK = 1000

Columns = dict[str, list[Any]]


class ResultsFolder:
    """The tables of a comparison, on disk.

    Parameters
    ----------
    path
        The folder; it is created if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._parts = self._path / "parts"
        self._path.mkdir(parents=True, exist_ok=True)
        for folder in (self._path, self._parts):
            if folder.is_dir():
                remove_leftovers(folder)
        # the scores of each valid part, by the name of its file
        self._scores: dict[str, Columns] = {}

    @property
    def is_read_only(self) -> bool:
        """Whether results can be read from this folder, but not added to it."""
        return not os.access(self._path, os.W_OK)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Reserve the folder for this process; a process that is killed releases it.

        Raises
        ------
        ValueError
            If another process uses the folder.
        """
        if self.is_read_only:
            yield
            return
        owner = self._path / _OWNER
        try:
            lock = FileLock(self._path / _LOCK).acquire(timeout=0)
        except Timeout as error:
            since = owner.read_text(errors="replace") if owner.exists() else "just now"
            raise ValueError(
                f"`out` ({self._path}) is in use since {since}. Wait for its end, or name another "
                f"folder."
            ) from error
        with lock:  # of the operating system, which releases it when this process ends
            self._parts.mkdir(exist_ok=True)
            time = datetime.now().isoformat(" ", "seconds")
            _write(owner, f"{time} by process {os.getpid()} on {socket.gethostname()}")
            yield

    def open(self, settings: dict[str, Any]) -> None:
        """Read the scores of earlier starts of a comparison, if its settings were the same.

        Parts that are damaged are reported in the log and ignored.

        Raises
        ------
        ValueError
            If the folder holds results of other settings, or if its settings cannot be read.
        """
        file = self._path / _SETTINGS
        if not file.exists() and not any(self._parts.glob("*.json")):
            _write(file, json.dumps(settings, indent=1))
        stored = self._read_settings(file)
        # as texts, which differ for 1, 1.0 and True
        changed = [
            key for key in stored | settings if repr(stored.get(key)) != repr(settings.get(key))
        ]
        if changed:
            raise ValueError(
                f"`out` ({self._path}) holds the results of a comparison with {changed[0]} = "
                f"{stored.get(changed[0])!r}, not {settings.get(changed[0])!r}. Name another "
                f"folder, or delete it."
            )
        for part in sorted(self._parts.glob("*.json")):
            lines = _read_part(part)
            if lines:
                self._scores[part.name] = json.loads(lines[0])
            else:
                logger.warning("%s is damaged; its series are evaluated again.", part)

    def _read_settings(self, file: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{file} is damaged, so the settings of the results in `out` are unknown. Name "
                f"another folder, or delete this one. Reason: {error}"
            ) from error

    def add(self, scores: pd.DataFrame, forecasts: pd.DataFrame) -> None:
        """Store the rows of a chunk, whose column `series` holds fingerprints."""
        times = forecasts["time"].groupby(forecasts["series"], sort=False).transform(_to_text)
        tables = [scores, forecasts.assign(time=times)]
        lines = [json.dumps({name: table[name].tolist() for name in table}) for table in tables]
        content = "\n".join(lines)
        name = f"{_checksum(content.encode())}.json"
        _write(self._parts / name, content)
        self._scores[name] = json.loads(lines[0])

    def finished(self) -> set[tuple[str, str]]:
        """Return the series and model of every stored row."""
        return {
            pair
            for scores in self._scores.values()
            for pair in zip(scores["series"], scores["model"], strict=True)
        }

    def scores(self, fingerprints: Collection[str]) -> pd.DataFrame:
        """Return the rows of the series with these fingerprints, one for each model."""
        # one table from all values, so that types do not depend on the division into parts
        columns: Columns = {"series": []}
        owners = self._owners(fingerprints)
        for part, scores in sorted(self._scores.items()):
            pairs = zip(scores["series"], scores["model"], strict=True)
            rows = [row for row, pair in enumerate(pairs) if owners.get(pair) == part]
            for name, values in scores.items():
                columns.setdefault(name, []).extend(values[row] for row in rows)
        return pd.DataFrame(columns)

    def forecasts(self, fingerprints: Collection[str]) -> Iterator[pd.DataFrame]:
        """Yield the forecasts of these series, of several at a time, in their order.

        Raises
        ------
        ValueError
            If a part was removed or damaged after its scores were read.
        """
        owners = self._owners(fingerprints)
        parts_of: dict[str, list[str]] = {}
        for (key, _), part in owners.items():
            parts_of.setdefault(key, []).append(part)
        keys = [key for key in fingerprints if key in parts_of]
        for first in range(0, len(keys), _BLOCK):
            block = set(keys[first : first + _BLOCK])
            parts = {part: None for key in keys[first : first + _BLOCK] for part in parts_of[key]}
            tables = []
            for part in parts:
                table = self._read_forecasts(part)
                pairs = zip(table.get("series", []), table.get("model", []), strict=True)
                kept = [pair[0] in block and owners.get(pair) == part for pair in pairs]
                if any(kept):  # an empty frame would change the column types
                    tables.append(table[kept])
            if tables:
                yield pd.concat(tables)

    def _owners(self, fingerprints: Collection[str]) -> dict[tuple[str, str], str]:
        """Return the part that holds the rows of each series and model."""
        wanted = set(fingerprints)
        owners: dict[tuple[str, str], str] = {}
        for part, scores in sorted(self._scores.items()):
            for pair in zip(scores["series"], scores["model"], strict=True):
                if pair[0] in wanted:
                    owners.setdefault(pair, part)
        return owners

    def _read_forecasts(self, part: str) -> pd.DataFrame:
        lines = _read_part(self._parts / part)
        if not lines:
            raise ValueError(
                f"{self._parts / part} was removed or damaged since its scores were read. "
                f"Repeat the comparison, which evaluates its series again."
            )
        return pd.DataFrame(json.loads(lines[1]))

    def write_tables(self, tables: dict[str, pd.DataFrame | Iterator[pd.DataFrame]]) -> None:
        """Write tables for people to CSV files; a table may come in parts, one after another.

        Texts are written as `to_cell` returns them.

        Parameters
        ----------
        tables
            The tables by the names of their files.
        """
        for name, table in tables.items():
            parts = [table] if isinstance(table, pd.DataFrame) else table
            with (
                atomic_write(self._path / name) as temporary,
                open(temporary, "w", encoding="utf-8", newline="") as f,
            ):
                for index, part in enumerate(parts):
                    # with the line ends of RFC 4180, Python also quotes a carriage return
                    part.map(to_cell).to_csv(
                        f, index=False, header=index == 0, lineterminator="\r\n"
                    )


def _to_text(times: pd.Series) -> pd.Series:
    """Return dates as text, and numbers of an integer index as they are."""
    index = pd.Index(times.tolist())
    values = index.astype(str) if isinstance(index, pd.DatetimeIndex) else index
    return pd.Series(values, index=times.index, dtype=object)


def to_cell(value: Any) -> Any:
    r"""Return a text as a table for people has it, and other values as they are.

    A text that a spreadsheet would run as a formula starts with an apostrophe; NUL and lone
    surrogates, which no CSV file can hold, are written as ``\x00`` and ``\ud800``.

    Examples
    --------
    >>> from darts_lstm_seq.comparison.results_folder import to_cell
    >>> to_cell("=1+1"), to_cell(-1)
    ("'=1+1", -1)
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    # https://owasp.org/www-community/attacks/CSV_Injection
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _read_part(file: Path) -> list[bytes] | None:
    """Return the scores and the forecasts of a part, or `None` if it is damaged or gone."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    return content.split(b"\n") if _checksum(content) == file.stem else None


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
