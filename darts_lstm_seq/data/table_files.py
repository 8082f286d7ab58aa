"""A file of any kind that people have -> its table: CSV, Excel or Parquet, compressed or not.

The kind is told by the first bytes, not by the name. pandas would go by the name, and fetch from
the network what looks like an address.
"""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from darts_lstm_seq.data.csv_table import Table, parse_csv
from darts_lstm_seq.data.frame_table import excel_table, parquet_table

_COMPRESSED: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\0": ("xz", lzma.decompress),
}
_ZIP = b"PK\x03\x04"
_WORKBOOK = "xl/workbook.xml"  # in every ZIP archive that is an Excel workbook
# in kinds that pandas reads with further engines, which nobody asked for so far
_UNREAD = {
    b"\xd0\xcf\x11\xe0": "a workbook of Excel 2003 or older. Save it as .xlsx",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive. Unpack it",
    b"%PDF": "a PDF document. Save the table as CSV",
}


def read_table(
    path: str | Path, separator: str | None = None, encoding: str | None = None
) -> Table:
    """Read a table with a header line.

    Parameters
    ----------
    path
        The file; "-" for standard input.
    separator, encoding
        Of text, see `parse_csv`.

    Returns
    -------
    Table
        At least one row and one column.

    Raises
    ------
    ValueError
        If the file is no table. The message says what it is, and the repair.
    OSError
        If there is no such file.
    """
    name = "standard input" if str(path) == "-" else str(path)
    raw = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    raw = _decompress(name, raw)
    if raw.startswith(b"PAR1"):
        return parquet_table(name, raw)
    if raw.startswith(_ZIP):
        return excel_table(name, raw)
    for start, kind in _UNREAD.items():
        if raw.startswith(start):
            raise ValueError(f"{name} is no CSV table, but {kind}.")
    return parse_csv(name, raw, separator, encoding)


def _decompress(name: str, raw: bytes) -> bytes:
    """Return the content of a compressed file; a workbook, and what is not compressed, as it is."""
    for start, (kind, decompress) in _COMPRESSED.items():
        if raw.startswith(start):
            try:
                return decompress(raw)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise ValueError(f"{name} is a damaged {kind} archive: {error}.") from None
    if not raw.startswith(_ZIP):
        return raw
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
            members = [member for member in members if not member.startswith("__MACOSX/")]
            if _WORKBOOK in members:
                return raw
            if len(members) == 1:
                return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name} is a damaged or encrypted ZIP archive: {error}.") from None
    if "mimetype" in members:
        raise ValueError(f"{name} is an OpenDocument file. Save it as .xlsx or CSV.")
    raise ValueError(
        f"{name} is a ZIP archive of {len(members)} files, {members[:5]}. Unpack the one to read."
    )
