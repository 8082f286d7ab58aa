"""Atomic writes: a file appears complete under its name, or not at all.

What is written, and in which format, is up to the caller.

Source: `os.replace`, which is atomic within one file system.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | Path, companions: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary path to write to; its file then replaces the one at `path`.

    Several processes may write the same file at once. On an error the temporary file is removed and
    the file at `path` stays as it was.

    Parameters
    ----------
    path
        The file to write, in an existing folder.
    companions
        Suffixes of further files that belong to it, such as ``".ckpt"`` for ``path + ".ckpt"``.
        Those that are written next to the temporary path are moved first, in this order, so that
        whoever sees the file at `path` also finds them.

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
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        present = [suffix for suffix in companions if os.path.exists(f"{temporary}{suffix}")]
        for suffix in [*present, ""]:
            # without it a crash may leave the new name with an empty file
            with open(f"{temporary}{suffix}", "r+b") as file:
                os.fsync(file.fileno())
            os.replace(f"{temporary}{suffix}", f"{path}{suffix}")
