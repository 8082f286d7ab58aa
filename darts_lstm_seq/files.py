"""Atomic writes: a file appears complete under its name, or not at all; and checks of what is read.

What is written, and in which format, is up to the caller.

Source: `os.replace`, which is atomic within one file system.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["atomic_write", "check_archive", "read_json", "remove_leftovers", "write_json"]

_LEFTOVER = re.compile(r"\.darts_lstm_seq-(\d+)-(.*)-[^-]*")
# of an entry's name and extra field, in the header before its content (zip specification, 4.3.7)
_LENGTHS, _LENGTHS_OFFSET = struct.Struct("<HH"), 26
_IS_FOLDER = 0x10  # among an entry's attributes
_MAX_AGE = 24 * 3600  # seconds; no write of a living process takes as long


@contextmanager
def atomic_write(path: str | Path, companions: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary path to write to; its file then replaces the one at `path`.

    Several processes may write the same file at once. On an error the temporary file is removed and
    the file at `path` stays as it was. A process that is killed leaves a temporary folder, for
    `remove_leftovers`.

    Parameters
    ----------
    path
        The file to write, in an existing folder.
    companions
        Suffixes of further files that belong to it, such as ``".ckpt"`` for ``path + ".ckpt"``.
        Those that are written next to the temporary path are moved first, in this order, so that
        whoever sees the file at `path` also finds them. Those that are not are removed.

    Yields
    ------
    Path
        A path with the same file name, in a temporary folder beside `path`.

    Raises
    ------
    OSError
        If the folder of `path` does not exist or cannot be written to, or if the temporary path was
        not written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from darts_lstm_seq.files import atomic_write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "scores.csv") as temporary:
    ...         _ = temporary.write_text("model,MASE")
    ...     (Path(folder) / "scores.csv").read_text()
    'model,MASE'
    """
    path = Path(path)
    prefix = f".darts_lstm_seq-{os.getpid()}-{platform.node()}-"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        written = [suffix for suffix in companions if os.path.exists(f"{temporary}{suffix}")]
        for suffix in [*written, ""]:
            # without it a crash may leave the new name with an empty file
            with open(f"{temporary}{suffix}", "r+b") as file:
                os.fsync(file.fileno())
        for suffix in set(companions) - set(written):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        for suffix in [*written, ""]:
            os.replace(f"{temporary}{suffix}", f"{path}{suffix}")


def write_json(path: str | Path, content: Any) -> None:
    """Write a value of JSON with its checksum, for `read_json`."""
    text = json.dumps({"sha256": _checksum(content), "content": content}, indent=1)
    with atomic_write(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return what `write_json` wrote.

    Raises
    ------
    ValueError
        If the file is missing, damaged or changed; the caller says how to repair that.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from darts_lstm_seq.files import read_json, write_json
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "options.json", {"decimal": ","})
    ...     read_json(Path(folder) / "options.json")
    {'decimal': ','}
    """
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        if read["sha256"] != _checksum(read["content"]):
            raise ValueError("its checksum differs")
        return read["content"]
    except Exception as error:  # damaged content may be of any type, and nested to any depth
        raise ValueError(
            f"`{path}` cannot be read, or is damaged or changed ({type(error).__name__}: {error})."
        ) from error


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary folders in `folder` whose writers were killed.

    Those are folders of `atomic_write` whose process no longer runs on this machine, and, as other
    machines may share the folder, those older than a day.
    """
    for name in os.listdir(folder):
        if match := _LEFTOVER.fullmatch(name):
            leftover = os.path.join(folder, name)
            is_here = match[2] == platform.node()
            if (is_here and not _is_running(int(match[1]))) or _age(leftover) > _MAX_AGE:
                shutil.rmtree(leftover, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where `os.kill` would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _age(path: str) -> float:
    """Return the seconds since a file or folder was changed; 0 if it is gone."""
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def check_archive(source: str | Path | BinaryIO, name: str | None = None) -> None:
    """Compare the contents of an uncompressed zip archive with their checksums, before any use.

    PyTorch writes its files as such archives, and ignores the checksums when it reads them. Sizes
    are compared first: nothing is unpacked that would be larger than the file.

    Parameters
    ----------
    source
        The path of a file of `torch.save` or of Lightning, or such a file opened for reading.
    name
        What errors call it; by default its path.

    Raises
    ------
    ValueError
        If the file was changed or truncated, is no zip archive, or is a compressed one.
    FileNotFoundError
        If there is no such file.
    """
    try:
        if isinstance(source, (str, Path)):
            with open(source, "rb") as file:
                _check_entries(file)
        else:
            _check_entries(source)
    except FileNotFoundError:
        raise
    except Exception as error:  # a changed byte may raise anything in the parser
        raise ValueError(
            f"{name or f'`{source}`'} is damaged, incomplete or no file of a model; nothing was "
            f"loaded. Save the model again, restore the file, or check the path. Reason: {error}"
        ) from error


def _check_entries(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its contents are compressed")
    if any(entry.external_attr & _IS_FOLDER for entry in entries):
        # PyTorch would return uninitialised memory
        raise ValueError("its contents are marked as folders")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its contents are larger than the file")
    for entry in entries:
        # `ZipFile.testzip` takes five times as long, 6 % of loading a small model
        file.seek(entry.header_offset + _LENGTHS_OFFSET)
        skipped = sum(_LENGTHS.unpack(file.read(_LENGTHS.size)))
        file.seek(skipped, os.SEEK_CUR)
        if zlib.crc32(file.read(entry.file_size)) != entry.CRC:
            raise ValueError(f"the checksum of {entry.filename!r} differs")
