"""The text of a file: encodings, separators, quotes, lines, and names that hold anything."""

import csv
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darts_lstm_seq.data import read_csv, read_many_csv
from darts_lstm_seq.data.table_files import read_table

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"t,v\n2024-01-01,12\x0034\n2024-01-02,2\n", "line 2: a NUL byte"),
        (b"t,v\r\n2024-01-01,1\r\n\x00\x00\x00", "line 3: a NUL byte"),
        (b't,v\n"a\nb",1\n2024-01-02,\x009\n', "line 4: a NUL byte"),
        (b"\x00,v\n", "line 1: a NUL byte"),
        (b"\xff\xfe\x00\x81", "has a header line, but no data"),
        (b"\xff\xfet\x00,", "line 1: the byte 0x2c is not utf-16"),
        ("t,v\n1,2\nGrün,1\n".encode("cp1252"), "line 3: the byte 0xfc .*reads 'Grün,1'.*cp1252"),
        (b"  \n\n", "is empty"),
        (b'day,a\n"2024-01-01,1\n', "no CSV table"),
        (b"day,a,a\n2024-01-01,1,2\n", "2 columns called 'a'"),
        (b"day,a\n2024-01-01,1,5\n2024-01-02,2,5\n", "line 2 has more fields than .* 3 and 2"),
        (b"day;v (a, b)\n2024-01-01;1\n2024-01-02\n", "separated by ';' or ','"),
        (b"Sales\n\nday,a\n2024-01-01,1\n", "Remove what stands above .*with 'Sales', '', 'day,a'"),
    ],
)
def test_says_what_a_file_looks_like(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, content))


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"],
)
def test_an_encoding_is_read_if_it_is_named_or_certain(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "Tag;Größe\n1.2.2024;5\n".encode(encoding))
    expected = {"Tag": ["1.2.2024"], "Größe": ["5"]}
    assert read_table(path, encoding=encoding).columns == expected
    if encoding not in ("cp1252", "latin-1"):
        assert read_table(path).columns == expected


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"`separator` must be one character, received ', '"):
        read_table(path, separator=", ")
    with pytest.raises(ValueError, match=r"`encoding` must be .* received 'utf-9'"):
        read_table(path, encoding="utf-9")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("d;v\n1;0,5\n2;1,5\n", {"d": ["1", "2"], "v": ["0,5", "1,5"]}),
        ("d\tv\n1\t0,5\n2\t1;5\n", {"d": ["1", "2"], "v": ["0,5", "1;5"]}),
        ("d|v\n1|0.5\n", {"d": ["1"], "v": ["0.5"]}),
        ('d,v\n1,"0;5"\n', {"d": ["1"], "v": ["0;5"]}),
        # commas in a header and in all numbers
        ("d;v, in EUR\n1;0,5\n2;1,5\n", {"d": ["1", "2"], "v, in EUR": ["0,5", "1,5"]}),
        # programs omit empty cells at the end, or write one more
        ("d,v,w\n1,2\n2\n", {"d": ["1", "2"], "v": ["2", ""], "w": ["", ""]}),
        ("d,v,\n1,2,\n", {"d": ["1"], "v": ["2"]}),
        (",v\n1,2\n", {"Unnamed: 0": ["1"], "v": ["2"]}),
        (",Unnamed: 0\n1,2\n", {"Unnamed: 0.1": ["1"], "Unnamed: 0": ["2"]}),
    ],
)
def test_the_separator_divides_all_lines_as_the_header(
    tmp_path: Path, text: str, columns: dict
) -> None:
    assert read_table(write(tmp_path, text)).columns == columns


def test_a_separator_that_is_named_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, "d;a,b\n1;2,3\n")
    assert read_table(path, separator=",").columns == {"d;a": ["1;2"], "b": ["3"]}


def test_lines_are_counted_over_blank_ones_and_line_ends_in_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, 'd,v\r\n\r\n1,"a\r\nb"\r\n,\r\n2,c\r\n')
    table = read_table(path)
    assert table.lines == [3, 6]
    assert table.columns == {"d": ["1", "2"], "v": ["a\r\nb", "c"]}
    assert str(table.refusal("v", 1, "is odd.")).endswith("line 6: 'c' in column 'v' is odd.")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@example(names=["a\rb", 'quote " and , and ;', "\r\n", " ", "NA", "007", "'", "=1+1", "x" * 5000])
@given(names=st.lists(texts, min_size=1, max_size=5, unique=True))
def test_names_of_series_come_back_as_they_are(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("names") / "shops.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["shop", "day", "sales"])
        writer.writerows([name, day, row] for row, name in enumerate(names) for day in DAYS)
    found = read_many_csv(path, "shop")
    assert list(found) == names
    assert [series.values()[0, 0] for series in found.values()] == list(range(len(names)))


@example(name="a\rb")
@example(name='say "so"')
@given(name=texts.filter(lambda name: name != "day"))
def test_names_of_columns_come_back_as_they_are(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("names") / "sales.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["day", name])
        writer.writerows([day, 1] for day in DAYS)
    assert list(read_csv(path).components) == [name]
