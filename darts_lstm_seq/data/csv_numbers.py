"""Cells of text -> numbers: which columns hold some, and which sign goes before decimals.

One decimal sign serves the whole file, and every cell must agree with it; where both the point and
the comma fit and give different numbers, the caller is asked. A currency or a percent sign is left
out where all cells of a column have it. Dates are left to `csv_dates`.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from darts_lstm_seq.data.csv_table import Table

# what programs and statistical offices write for a missing value
_SIGNS = {"", ".", "..", "...", "-", "--", "\u2013", "\u2014", "?", ":"}
_WORDS = {"na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nil"}
_GAPS = (
    _SIGNS
    | {form(word) for word in _WORDS for form in (str.lower, str.upper, str.title)}
    | {"NaN", "-NaN"}
)
_NAMES = {".": "point", ",": "comma"}
_OTHER = {".": ",", ",": "."}
_DIVIDERS = "'\u2019 \xa0\u202f"
_UNIT = "[%\u2030$\xa2-\xa5\u20a0-\u20cf]|(?:EUR|USD|GBP|CHF|JPY)(?![A-Za-z])"
_WITH_UNIT = re.compile(
    rf"(?P<sign>[+\u2212-]?)\s*(?:(?P<before>{_UNIT})\s*(?P<first>[^\s].*)"
    rf"|(?P<last>.*[^\s])\s*(?P<after>{_UNIT}))"
)


_END = "\0"  # between cells, none of which holds one


def _number(decimal: str) -> str:
    divider = f"(?P<divider>[{_OTHER[decimal]}{_DIVIDERS}])"
    thousands = f"[1-9][0-9]{{0,2}}{divider}[0-9]{{3}}(?:(?P=divider)[0-9]{{3}})*"
    number = f"(?=[{decimal}]?[0-9])(?:[0-9]*|{thousands})(?:[{decimal}][0-9]*)?(?:e[+-]?[0-9]+)?"
    return f"[+\u2212-]?(?:inf(?:inity)?|{number})"


# a column at once, which is ten times faster than cell by cell
_NUMBERS = {
    sign: re.compile(f"(?:{_END}{_number(sign)}(?={_END}|\\Z))*+", re.IGNORECASE) for sign in _NAMES
}
_CLEAN = {sign: str.maketrans(f"{sign}\u2212", ".-", _OTHER[sign] + _DIVIDERS) for sign in _NAMES}


def is_number(text: str) -> bool:
    """Return whether a text is a number with a decimal point or a decimal comma."""
    return any(_fits(sign, [text]) for sign in _NAMES)


def are_row_numbers(cells: Sequence[str]) -> bool:
    """Return whether cells may number the rows, some of which were dropped or moved."""
    return all(map(re.compile("[0-9]+").fullmatch, cells)) and len(set(cells)) == len(cells)


def filled_cells(table: Table, name: str) -> dict[int, str]:
    """Return the cells of a column that are not missing, by their rows."""
    cells = enumerate(map(str.strip, table.columns[name]))
    return {row: cell for row, cell in cells if cell not in _GAPS}


def without_unit(table: Table, name: str, texts: dict[int, str]) -> tuple[dict[int, str], str]:
    """Return the cells of a column without their currency or percent sign, and the sign, if any.

    Parameters
    ----------
    table, name
        The column.
    texts
        Its `filled_cells`.

    Raises
    ------
    ValueError
        If most cells have a sign, but not all the same: $5 and 5 EUR, 12 % and 0.13.
    """
    if not texts or not _WITH_UNIT.fullmatch(next(iter(texts.values()))):
        return texts, ""
    found, units = {}, {}
    for row, text in texts.items():
        if (match := _WITH_UNIT.fullmatch(text)) and is_number(number := _number_in(match)):
            found[row], units[row] = number, match["before"] or match["after"]
    if 2 * len(found) < len(texts):  # a column of text
        return texts, ""
    unit = next(iter(units.values()))
    for row, text in texts.items():
        if units.get(row, unit) != unit or (row not in units and is_number(text)):
            raise table.refusal(
                name, row, f"does not have the {unit!r} of other cells. Write all cells alike."
            )
    return texts | found, unit


def _number_in(match: re.Match[str]) -> str:
    return match["sign"] + (match["first"] or match["last"])


def holds_numbers(texts: Collection[str]) -> bool:
    """Return whether at least half of these are numbers, so that the others are mistakes."""
    if any(_fits(sign, texts) for sign in _NAMES):
        return bool(texts)
    numbers = sum(count for text, count in Counter(texts).items() if is_number(text))
    return 2 * numbers >= len(texts)


def parse_numbers(
    table: Table, columns: dict[str, dict[int, str]], decimal: str | None = None
) -> dict[str, np.ndarray]:
    """Read columns of numbers, whose thousands may be divided by the other sign, a blank or a '.

    Parameters
    ----------
    table
        The table that they are from.
    columns
        By the name of each column, its `filled_cells`.
    decimal
        The sign before decimals, "." or ","; by default the one that fits all cells.

    Returns
    -------
    dict[str, numpy.ndarray]
        Double-precision numbers by column, with NaN for missing ones.

    Raises
    ------
    ValueError
        If a cell is no number or not finite, a column is empty, or both signs fit all cells and
        give different numbers.
    """
    of_text = {name: texts for name, texts in columns.items() if name not in table.numeric}
    decimal = decimal or _find_decimal(table, of_text)
    if decimal not in _NAMES:
        raise ValueError(f"`decimal` must be '.' or ',', received {decimal!r}.")
    found = {}
    for name, texts in columns.items():
        sign = decimal if name in of_text else "."
        if not texts:
            raise ValueError(f"{table.path}: column {name!r} is empty.")
        if not _fits(sign, texts.values()):
            raise table.refusal(
                name,
                next(row for row, text in texts.items() if not _fits(sign, [text])),
                f"is no number with a decimal {_NAMES[sign]}. Correct or empty the cell, or "
                f"name the columns to read (values=, --value).",
            )
        numbers = np.full(len(table.lines), np.nan)
        clean = _END.join(texts.values()).translate(_CLEAN[sign])
        numbers[list(texts)] = list(map(float, clean.split(_END)))
        for row in np.flatnonzero(np.isinf(numbers))[:1]:
            raise table.refusal(name, int(row), "is not finite.")
        found[name] = numbers
    return found


def _fits(decimal: str, texts: Iterable[str]) -> bool:
    """Return whether all texts are numbers with this decimal sign."""
    return _NUMBERS[decimal].fullmatch(_END.join(["", *texts])) is not None


def _find_decimal(table: Table, columns: dict[str, dict[int, str]]) -> str:
    """Return the decimal sign that fits all columns."""
    certain, doubtful = [], {}
    for name, texts in columns.items():
        signed = {row: text for row, text in texts.items() if "." in text or "," in text}
        fitting = [sign for sign in _NAMES if _fits(sign, signed.values())]
        if not fitting:  # a mistake in some cell, among others that have this sign
            certain.append(
                max(_NAMES, key=lambda sign: sum(_fits(sign, [text]) for text in signed.values()))
            )
        elif len(fitting) == 1:
            certain += fitting
        elif signed:
            doubtful[name] = signed
    for name, signed in doubtful.items():
        row, text = next(iter(signed.items()))
        # 984, 1.018, 1.164 are thousands, whatever the other columns say: of numbers with three
        # decimals, none would lack them
        if not certain or (certain[0] in text and len(signed) < len(columns[name])):
            readings = [text.translate(_CLEAN[sign]) for sign in _NAMES]
            raise table.refusal(
                name,
                row,
                f"is {readings[0]} with a decimal point, {readings[1]} with a decimal comma; no "
                f"cell decides. Pass decimal='.' or decimal=',' (--decimal).",
            )
    return certain[0] if certain else "."
