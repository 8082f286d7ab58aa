"""Numbers as they are written: decimal signs, thousands, gaps; never another number in silence."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darts_lstm_seq.data import read_csv
from darts_lstm_seq.data.csv_numbers import filled_cells, parse_numbers
from darts_lstm_seq.data.csv_table import Table


def parse(cells: dict[str, list[str]], decimal: str | None = None) -> list[list[float]]:
    rows = len(next(iter(cells.values())))
    table = Table("table.csv", cells, list(range(2, 2 + rows)))
    found = parse_numbers(table, {name: filled_cells(table, name) for name in cells}, decimal)
    return [numbers.tolist() for numbers in found.values()]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "+3", "1e3", ".5", "5."], [1, -2, 3, 1000, 0.5, 5]),
        (["1.5", "1,018.25", "984"], [1.5, 1018.25, 984]),
        (["1,5", "1.018,25", "984"], [1.5, 1018.25, 984]),
        (["1.018.000", "984"], [1018000, 984]),
        (["1,018,000", "1.5"], [1018000, 1.5]),
        (["0.123", "1.018"], [0.123, 1.018]),
        (["0,123", "1,018"], [0.123, 1.018]),
        (["1234.567", "1.018"], [1234.567, 1.018]),
        (
            ["1 018", "1\xa0018", "1\u202f018,5", "1'018", "1\u2019018"],
            [1018, 1018, 1018.5, 1018, 1018],
        ),
        ([" 1.5 ", "2"], [1.5, 2]),
        (["\u22121,5", "-2"], [-1.5, -2]),
        (["0.1", "0.30000000000000004", "1e-300"], [0.1, 0.30000000000000004, 1e-300]),
    ],
)
def test_the_sign_that_fits_all_cells_is_found(cells: list[str], expected: list[float]) -> None:
    assert parse({"a": cells}) == [expected]


@pytest.mark.parametrize(
    "gap",
    [
        *("", "  ", ".", "..", "-", "--", "?", ":", "\u2013"),
        *("NA", "n/a", "N/A", "#N/A", "NULL", "null", "None", "NaN", "nan", "<NA>"),
    ],
)
def test_gaps_are_missing_values(gap: str) -> None:
    np.testing.assert_array_equal(parse({"a": ["1", gap, "2,5"]}), [[1, np.nan, 2.5]])


@pytest.mark.parametrize("decimal", [".", ","])
def test_thousands_without_decimals_are_asked_about(decimal: str) -> None:
    other = {".": ",", ",": "."}[decimal]
    cells = {"a": ["984", f"1{other}018", f"1{other}164"]}
    message = (
        r"line 3: '1.018' in column 'a' is 1\.?018 with a decimal point, 1\.?018 with .* comma"
    )
    with pytest.raises(ValueError, match=message):
        parse(cells)
    assert parse(cells, decimal) == [[984, 1018, 1164]]
    assert parse(cells, other) == [[984, 1.018, 1.164]]


def test_other_columns_decide_what_one_leaves_open() -> None:
    assert parse({"a": ["1.018", "984"], "b": ["1,5", "2"]}) == [[1018, 984], [1.5, 2]]
    assert parse({"a": ["1.018", "2.984"], "b": ["1.5", "2"]}) == [[1.018, 2.984], [1.5, 2]]
    # 984 would be written 984.000
    with pytest.raises(ValueError, match=r"'1.018' in column 'a' is 1.018 .* Pass decimal="):
        parse({"a": ["1.018", "984"], "b": ["1.5", "2"]})


def read(cells: list[str], folder: Path) -> list[float]:
    days = pd.date_range("2024-01-01", periods=len(cells))
    lines = (f"{day.date()};{cell}" for day, cell in zip(days, cells, strict=True))
    (folder / "a.csv").write_text("\n".join(["day;v", *lines]), encoding="utf-8")
    return read_csv(folder / "a.csv").values().ravel().tolist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["$1,200", "-$5.50", "$ 7"], [1200, -5.5, 7]),
        (["12 %", "-3,5 %", "0%"], [12, -3.5, 0]),
        (["1.200,50 €", "7 €", "€ 8"], [1200.5, 7, 8]),
        (["EUR 5", "6 EUR", "EUR -7"], [5, 6, -7]),
    ],
)
def test_units_that_all_cells_have_are_left_out_and_said(
    cells: list[str], expected: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(cells, tmp_path) == expected
    assert "signs left out of the cells: 'v' is in" in caplog.text


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["12 %", "0.13", "14 %"], "line 3: '0.13' in column 'v' does not have the '%' of other"),
        (["$5", "5 €", "$6"], "line 3: '5 €' .* does not have the '\\$' of other cells"),
        (["$5", "$x", "$6"], "line 3: '\\$x' in column 'v' is no number"),
        (["$984", "$1,018", "$1,164"], "no cell decides. Pass decimal="),
        (["A5", "A6", "A7"], "no column of numbers"),
        (["USDX 5", "USDX 6", "USDX 7"], "no column of numbers"),
    ],
)
def test_units_that_differ_are_refused(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(cells, tmp_path)


@pytest.mark.parametrize(
    ("cells", "decimal", "message"),
    [
        (["1", "12O", "3"], None, "line 3: '12O' in column 'a' is no number"),
        (["1.5", "2,5", "3.5"], None, "line 3: '2,5' .* is no number with a decimal point"),
        (["1,5", "2.5", "3,5"], None, "line 3: '2.5' .* is no number with a decimal comma"),
        (["1.5", "2"], ",", "line 2: '1.5' .* is no number with a decimal comma"),
        (["1,23,456"], None, "is no number"),
        (["1,018 164"], None, "is no number"),
        (["01,018.5"], None, "is no number"),
        (["1.018.16"], None, "is no number"),
        (["1_000"], None, "is no number"),
        (["0x1f"], None, "is no number"),
        (["1e"], None, "is no number"),
        (["5 %"], None, "is no number"),
        (["1\n2"], None, "is no number"),
        (["#DIV/0!"], None, "is no number"),
        (["\u0661"], None, "is no number"),
        (["1", "-inf"], None, "line 3: '-inf' .* is not finite"),
        (["1", "1e999"], None, "line 3: '1e999' .* is not finite"),
        (["", "NA"], None, "column 'a' is empty"),
        (["1"], "x", "`decimal` must be '.' or ',', received 'x'"),
    ],
)
def test_what_is_no_number_is_refused(cells: list[str], decimal: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse({"a": cells}, decimal)


def readings(cells: list[str]) -> set[tuple[Decimal, ...]]:
    """Read with a decimal point and with a decimal comma, where all cells have groups of three."""
    found = set()
    for decimal, thousands in (".,", ",."):
        values = []
        for cell in cells:
            whole, _, rest = cell.lstrip("-").partition(decimal)
            first, *groups = whole.split(thousands)
            if thousands in rest or any(len(group) != 3 for group in groups):
                break
            if groups and not (len(first) <= 3 and first.strip("0")[:1] == first[:1] != ""):
                break
            sign = "-" if cell.startswith("-") else ""
            values.append(Decimal(f"{sign}{whole.replace(thousands, '')}.{rest}"))
        else:
            found.add(tuple(values))
    return found


@example(
    values=[Decimal(984), Decimal(1018), Decimal(1164)],
    style="thousands",
    separator=";",
    decimal=",",
)
@example(values=[Decimal("1.018"), Decimal("2.164")] * 2, style="plain", separator=";", decimal=",")
@given(
    values=st.lists(
        st.decimals(-(10**7), 10**7, places=3) | st.integers(-(10**7), 10**7).map(Decimal),
        min_size=3,
        max_size=20,
    ),
    style=st.sampled_from(["plain", "fixed", "thousands", "blanks"]),
    separator=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
)
def test_numbers_come_back_or_the_sign_is_asked_for(
    values: list[Decimal],
    style: str,
    separator: str,
    decimal: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    form = {"plain": "", "fixed": ".3f", "thousands": ",", "blanks": ","}[style]
    values = [value if style == "fixed" else value.normalize() + 0 for value in values]
    divider = " " if style == "blanks" else {".": ",", ",": "."}[decimal]
    signs = str.maketrans(".,", decimal + divider)
    cells = [format(value, form or "f").translate(signs) for value in values]
    days = pd.date_range("2024-01-01", periods=len(cells)).strftime("%Y-%m-%d")
    path: Path = tmp_path_factory.mktemp("numbers") / "table.csv"
    path.write_text(
        "\n".join(
            [
                "day" + separator + "v",
                *(f'{day}{separator}"{cell}"' for day, cell in zip(days, cells, strict=True)),
            ]
        )
    )
    expected = [float(value) for value in values]
    assert read_csv(path, decimal=decimal).values().ravel().tolist() == expected
    error = ""
    try:
        found = read_csv(path).values().ravel().tolist()
    except ValueError as refusal:
        error = str(refusal)
    if error:
        assert "no cell decides" in error
        assert len(readings([cell.replace(" ", "") for cell in cells])) == 2
    else:
        assert found == expected
