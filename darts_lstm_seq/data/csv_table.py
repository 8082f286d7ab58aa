"""The text of a CSV file -> columns of cells, as they stand there, with the line of each row.

Encoding and separator are found here, or the file is refused with what it looks like. What a cell
means is up to `csv_dates` and `csv_numbers`, other kinds of files to `table_files`. Quoting follows
RFC 4180, through Python's `csv`.
"""

import contextlib
import csv
import io
import re
import reprlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

# commas are in numbers and prose, too: another separator that fits every line goes before them
_SEPARATORS = "\t;|,"
# of the text in an error
_SHOWN_LINES, _SHOWN_LENGTH = 3, 60


@dataclass(frozen=True)
class Table:
    """The cells of a file or a data frame as text.

    Parameters
    ----------
    path
        The file, or what else an error calls it.
    columns
        The cells of each column from top to bottom, by the column's name. Columns without a name
        are called as pandas calls them, "Unnamed: 0" for instance.
    lines
        The number of the line on which each row starts; a file's first line is 1.
    looks
        How the table is written, for errors: the separator found, for instance.
    numeric
        The columns that hold numbers, not text that may be read as numbers.
    line
        What an error calls a line.
    """

    path: str
    columns: dict[str, list[str]]
    lines: list[int]
    looks: str = ""
    numeric: frozenset[str] = frozenset()
    line: str = "line"

    def refusal(self, name: str, row: int, why: str) -> ValueError:
        """Return the error that a cell is at fault, with its line and column."""
        cell = reprlib.repr(self.columns[name][row])
        where = f"{self.path}, {self.line} {self.lines[row]}"
        return ValueError(f"{where}: {cell} in column {name!r} {why}")


def parse_csv(
    path: str, raw: bytes, separator: str | None = None, encoding: str | None = None
) -> Table:
    """Read the content of a CSV file with a header line; blank lines are skipped.

    Parameters
    ----------
    path
        The file.
    raw
        Its bytes.
    separator
        The character between two cells; by default the one that divides every line into as many
        cells as the header has, of tab, semicolon, bar and comma.
    encoding
        Python's name of the file's encoding; by default UTF-8, or UTF-16 or UTF-32 where the bytes
        tell it.

    Returns
    -------
    Table
        At least one row and one column.

    Raises
    ------
    ValueError
        If the file is no such table. The message names the line and the repair, and shows the first
        lines.
    """
    text = _decode(path, raw, encoding)
    if not text.strip():
        raise ValueError(f"{path} is empty: a header line and data are needed.")
    try:
        if separator is None:
            separator, lines, rows = _find_separator(text, path)
        else:
            lines, rows = _split(text, separator, path)
        return make_table(path, rows, lines, f"separated by {separator!r}")
    except ValueError as error:
        shown = [line[:_SHOWN_LENGTH] for line in text.splitlines()[:_SHOWN_LINES]]
        raise ValueError(f"{error} The file starts with {', '.join(map(repr, shown))}.") from None


def make_table(
    path: str,
    rows: list[list[str]],
    lines: list[int],
    looks: str,
    numeric: Collection[int] = (),
) -> Table:
    """Return the table of rows of cells, the first of which has the names of the columns.

    Parameters
    ----------
    path, lines, looks
        See `Table`; `lines` includes that of the names.
    rows
        The cells; rows may be shorter than the first.
    numeric
        The positions of columns that hold numbers.

    Raises
    ------
    ValueError
        If there are no rows, or rows longer than the first, or two columns have one name.
    """
    header, cells = rows[0], rows[1:]
    if not cells:
        raise ValueError(f"{path} has a header line, but no data.")
    longest = max(cells, key=len)
    if len(longest) > len(header):
        line = lines[rows.index(longest)]
        raise ValueError(
            f"{path}, line {line} has more fields than the header: {len(longest)} and "
            f"{len(header)}, {looks}. Remove what stands above the header, quote cells that hold a "
            f"separator, decimal commas for instance, or name another one (separator=, "
            f"--separator)."
        )
    name, count = Counter(filter(None, header)).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{path} has {count} columns called {name!r}. Rename them.")
    columns = {}
    of_numbers = set()
    for index, (name, *filled) in enumerate(zip_longest(*rows, fillvalue="")):
        if not name:
            name = f"Unnamed: {index}"
            # a table that was saved and read with pandas before has such a name already
            name += ".1" * (name in header)
        if header[index] or any(filled):  # lines may end with separators
            columns[name] = filled
            of_numbers |= {name} if index in numeric else set()
    return Table(path, columns, lines[1:], looks, frozenset(of_numbers))


def _decode(path: str, raw: bytes, encoding: str | None) -> str:
    try:
        text = raw.decode(encoding or _wide_encoding(raw) or "utf-8").removeprefix("\ufeff")
    except LookupError:
        raise ValueError(
            f"`encoding` must be the name of an encoding, 'cp1252' for instance; received "
            f"{encoding!r}."
        ) from None
    except UnicodeDecodeError as error:
        line = _line(raw.decode("latin-1"), error.start)
        shown = raw.splitlines()[line - 1].decode("cp1252", errors="replace")
        raise ValueError(
            f"{path}, line {line}: the byte 0x{raw[error.start]:02x} is not {error.encoding}. "
            f"In Windows-1252 the line reads {reprlib.repr(shown)}: if that is right, pass "
            f"encoding='cp1252' (--encoding cp1252), else the encoding that the file was saved in."
        ) from None
    if "\0" in text:
        line = _line(text, text.index("\0"))
        raise ValueError(
            f"{path}, line {line}: a NUL byte, which no text holds; the file is damaged, or in "
            f"another encoding (encoding=, --encoding)."
        )
    return text


def _wide_encoding(raw: bytes) -> str | None:
    """Return the encoding of a text in units of two or four bytes, told by its mark or its NULs."""
    if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = raw[0:1000:2], raw[1:1000:2]
    if odd.count(0) > len(odd) / 2 and not even.count(0):
        return "utf-16-le"
    if even.count(0) > len(even) / 2 and not odd.count(0):
        return "utf-16-be"
    return None


def _line(text: str, position: int) -> int:
    return len(re.findall(r"\r\n?|\n", text[:position])) + 1


def _split(text: str, separator: str, path: str) -> tuple[list[int], list[list[str]]]:
    """Return the lines on which rows start, and their cells; blank rows are skipped."""
    lines, rows, line = [], [], 1
    try:
        reader = _reader(text, separator)
        for row in reader:
            if any(row):
                lines.append(line)
                rows.append(row)
            line = reader.line_num + 1
    except TypeError:
        raise ValueError(f"`separator` must be one character, received {separator!r}.") from None
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV table separated by {separator!r}: {error}.") from None
    return lines, rows


def _reader(text: str, separator: str) -> Any:
    # line ends are left to the reader, since they may stand in quotes
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _find_separator(text: str, path: str) -> tuple[str, list[int], list[list[str]]]:
    """Return the separator under which all lines agree with the header, and what it divides."""
    shorter = []  # under these, some lines have fewer cells: programs omit empty ones at the end
    for separator in filter(text.__contains__, _SEPARATORS):
        with contextlib.suppress(csv.Error, ValueError):  # a quote amid a cell
            if len(next(filter(any, _reader(text, separator)))) > 1:
                lines, rows = _split(text, separator, path)
                if len(set(map(len, rows))) == 1:
                    return separator, lines, rows
                if len(rows[0]) == max(map(len, rows)):
                    shorter.append((separator, lines, rows))
    if len(shorter) > 1:
        raise ValueError(
            f"{path} may be separated by {' or '.join(repr(found[0]) for found in shorter)}. Name "
            f"the separator (separator=, --separator)."
        )
    if shorter:
        return shorter[0]
    separator = max(",;\t|", key=text.lstrip().partition("\n")[0].count)
    return separator, *_split(text, separator, path)
