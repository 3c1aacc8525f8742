"""Files as tables: what separates, what is read, what is refused."""

import bz2
import gzip
import io
import lzma
from types import SimpleNamespace

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from fastnn import tables  # noqa: E402
from fastnn.tables import TableError  # noqa: E402
from fastnn.tables._read import SAMPLE, parse  # noqa: E402


def read(content, **options):
    """Return the columns of a file's content, as lists."""
    table = parse(content.encode() if isinstance(content, str) else content, "data", **options)
    return {name: cells.values.to_pylist() for name, cells in zip(table.names, table.take(table.names), strict=True)}


def numbers(content, **options):
    """Return the first column of a file's content, as numbers."""
    table = parse(content.encode(), "data", **options)
    return table.take(table.names[:1])[0].read_numbers(False).tolist()


def refuse(content, **options):
    """Return why a file's content is refused."""
    with pytest.raises(TableError) as caught:
        parse(content if isinstance(content, bytes) else content.encode(), "data", **options)
    return caught.value.at_terminal()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators(separator, end):
    lines = ["a,b,c d", '1,"x,y;z|\tw",2', ",,", "3,it's 5\" wide,4"]
    text = "".join(line.replace(",", separator) + end for line in lines)
    inside = "x,y;z|\tw".replace(",", separator)
    expected = {"a": ["1", None, "3"], "b": [inside, None, "it's 5\" wide"], "c d": ["2", None, "4"]}
    assert read(text) == expected
    assert read(text, separator=separator) == expected


def test_separators_inside_quoted_names():
    assert read('"x; m","y | z",c\n1,2,3\n') == {"x; m": ["1"], "y | z": ["2"], "c": ["3"]}
    assert read('"a, b";c\n1;2\n') == {"a, b": ["1"], "c": ["2"]}


def test_spaces_separate_where_nothing_else_does():
    text = '  a   "b c" d\n 1.5     2 x \n\n-3 4      "y z"\n'
    assert read(text) == {"a": ["1.5", "-3"], "b c": ["2", "4"], "d": ["x", "y z"]}
    assert read(text.replace("\n", "\r\n")) == read(text)
    assert read("first name,last name\nAnn Lee,Bob Ray\n") == {"first name": ["Ann Lee"], "last name": ["Bob Ray"]}
    assert read("sepal length\n5.1\n") == {"sepal length": ["5.1"]}
    assert read("a b\n1 2\n3 4\n", separator=" ") == {"a": ["1", "3"], "b": ["2", "4"]}


def test_a_separator_that_is_said():
    assert read("a:b,c\n1:2\n", separator=":") == {"a": ["1"], "b,c": ["2"]}
    for separator in ("", "::", "a", "1", '"', "\n", "é"):
        with pytest.raises(ValueError, match="separator must be one character that is no letter, digit or quote"):
            parse(b"a", "data", separator=separator)


def test_the_separator_is_found_in_the_first_lines_of_a_long_file():
    assert len(read("a;b\n" + "1,5;2,5\n" * SAMPLE)["b"]) == SAMPLE
    assert len(read("a b\n" + "1.5 2.5\n" * SAMPLE)["b"]) == SAMPLE
    assert list(read("a,b" + " " * SAMPLE + "\n1,2\n")) == ["a", "b"]


def test_decimal_commas_where_semicolons_separate():
    assert numbers("a;b\n1,5;x\n-,5;y\n2;z\n3,e2;z\n") == [1.5, -0.5, 2, 300]
    assert numbers("a;b\n1.5;x\n2;y\n") == [1.5, 2]
    assert numbers('a,b\n"1,5",x\n', decimal=",") == [1.5]
    assert numbers("a\tb\n1,5\tx\n", decimal=",") == [1.5]
    with pytest.raises(
        TableError, match="column 'a' has '1.500' in row 1, which is a number only if '.' is the decimal"
    ):
        numbers("a;b\n1.500;2,5\n")  # German thousands
    with pytest.raises(TableError, match="say decimal=',' if so, else write plain numbers"):
        numbers("a\tb\n1,5\tx\n")
    with pytest.raises(ValueError, match="decimal must be one of"):
        parse(b"a", "data", decimal="'")


def test_a_blank_line_of_a_single_column_is_a_row():
    assert read("a\n1\n\n3\n\n") == {"a": ["1", None, "3", None]}
    assert read("a,b\n1,2\n\n3,4\n\n") == {"a": ["1", "3"], "b": ["2", "4"]}


def test_text_stays_as_it_is_written_but_for_spaces_around_it():
    assert read(" a , b\n 01, x y \n1.0,\t\n") == {"a": ["01", "1.0"], "b": ["x y", None]}


def test_what_is_missing():
    text = "a\n" + "\n".join(["", "NA", "n/a", "nan", "NaN", "Null", "#N/A", "<NA>", "None", "?", "-", "none"]) + "\n"
    assert read(text)["a"] == [None] * 8 + ["None", "?", "-", "none"]
    (cells,) = parse(text.encode(), "data").take(["a"], ["?", "NONE "])
    assert cells.values.to_pylist() == [None, "NA", "n/a", "nan", "NaN", "Null", "#N/A", "<NA>", None, None, "-", None]
    assert tables.Table.of({"a": ["NA", " ", None]}).take(["a"])[0].values.to_pylist() == ["NA", None, None]


ENCODINGS = [("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("cp1252", "cp1252"), ("utf-16-le", "utf-16-le")]


@pytest.mark.parametrize(("written", "said"), ENCODINGS)
def test_encodings(written, said):
    assert read("Größe,b\n1,ä\n".encode(written), encoding=said) == {"Größe": ["1"], "b": ["ä"]}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "a,b\n1,ä\n".encode("latin-1"),
            {},
            "data is no text in utf-8: line 2 has other bytes. Say in what it is, such as --encoding cp1252",
        ),
        (b"\xff\xfe\xca" * 99, {}, "data is no text in utf-16: line 1 has other bytes"),
        ("a,b\n".encode("utf-16-le"), {}, "data is no table, CSV or Parquet, or text in UTF-16: --encoding utf-16"),
    ],
)
def test_other_bytes(content, options, message):
    assert message in refuse(content, **options)


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_encoding_that_is_none(encoding):
    with pytest.raises(ValueError, match="encoding must be the name of one, such as 'utf-8' or 'cp1252', got"):
        parse(b"a,b\n", "data", encoding=encoding)


def zstd(content):
    return pa.Codec("zstd").compress(content).to_pybytes()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_compressed_files(compress):
    content = compress(b"a,b\n1,2\n")
    assert read(content) == {"a": ["1"], "b": ["2"]}
    if compress is not zstd:
        assert read(content + compress(b"3,4\n")) == {"a": ["1", "3"], "b": ["2", "4"]}
    assert "data is compressed, and damaged: " in refuse(content[:-3])


def test_compressed_parquet(tmp_path):
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": [1]}), sink)
    assert read(gzip.compress(sink.getvalue())) == {"a": [1]}


SHEET = "data is a spreadsheet: save the sheet as CSV (UTF-8) there"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4...xl/workbook.xml", SHEET),
        (b"PK\3\4mimetypeapplication/vnd.oasis.opendocument.spreadsheet", SHEET),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", SHEET),
        (b"PK\3\4...data.csv", "data is a zip archive: unpack it"),
        (b"ARROW1\0\0", "data is a Feather file: write it as Parquet"),
        (b"<!DOCTYPE html>", "data is a web page, or XML: write its table as CSV"),
        (b'[{"a": 1}]', "data is JSON: write its table as CSV"),
        (b"", "data is empty"),
        (b" \r\n\n", "data is empty"),
        (b"PAR1" * 9, "data is no table, CSV or Parquet: "),
        (b"a,b\n1,2,3\n", "data is no table: row 1 has 3 values, and the first line 2"),
        (b"a,b\n1,2\n\n3\n", "data is no table: row 2 has 1 values, and the first line 2"),
        (b"My table\na,b\n1,2\n", "data is no table: row 1 has 2 values, and the first line 1"),
        (b'a,b\n"1,2', "its quotation marks do not match (unexpected end of data)"),
        (b"a,b,b,a\n1,2,3,4\n", "data has columns of the same name: 'a', 'b'"),
    ],
)
def test_what_is_no_table(content, message):
    assert message in refuse(content)


def test_empty_lines_before_the_first():
    assert read("\n" * SAMPLE + "a,b\n1,2\n") == {"a": ["1"], "b": ["2"]}


def test_a_line_that_is_too_long(monkeypatch):
    monkeypatch.setattr("fastnn.tables._read.BLOCK", 16)
    assert "data is no table: straddling object" in refuse("a,b\n" + "x" * 40 + ",1\n")


def test_names_that_are_missing():
    assert list(read(",a,\n1,2,3\n")) == ["Unnamed: 0", "a", "Unnamed: 2"]
    assert read(",\n") == {"Unnamed: 0": [], "Unnamed: 1": []}


@pytest.mark.parametrize(
    ("line", "is_header"),
    [
        ("5.1,3.5,setosa", False),
        ('"5,1",3,setosa', False),
        ("6,148,72,0", False),
        ("39,State-gov,77516,13", False),
        ("1,1,x", False),
        ("0,1,2,3", True),
        ("country,1990,2000,2010", True),
        ("a,b1,1c", True),
    ],
)
def test_a_file_without_a_header_is_recognised(line, is_header):
    content = f"{line}\n{line}\n"
    if is_header:
        assert len(read(content)) == line.count(",") + 1
    else:
        message = refuse(content)
        assert message.startswith("data has no names of columns: its first line is ")
        assert message.endswith("Put names there, or say --no-header and call the columns 1, 2, ...")
        columns = read(content, header=False)
        assert list(columns)[:3] == ["1", "2", "3"]
        assert all(len(column) == 2 for column in columns.values())


def test_of_a_wide_first_line_the_beginning_is_shown():
    assert "'" + ", ".join(["0.5"] * 10) + ", ...'" in refuse(",".join(["0.5"] * 11) + "\n")


# Parquet, and frames


def write(columns, **options):
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize("option", ["separator", "decimal", "encoding", "header"])
def test_parquet_needs_no_options_of_text(option):
    value = {"separator": ",", "decimal": ",", "encoding": "utf-8", "header": False}[option]
    message = refuse(write({"a": [1]}), **{option: value})
    assert message.startswith("data is Parquet, which needs no --")


def test_columns_of_the_same_name_in_parquet():
    assert "data has columns of the same name: 'a'" in refuse(write(pa.table([[1, 2], [3, 4]], names=["a", "a"])))


def test_labels_of_rows_are_no_columns():
    pandas = pytest.importorskip("pandas")
    for index in (pandas.Index([5, 6]), pandas.Index([5, 6], name="k"), None):
        sink = io.BytesIO()
        pandas.DataFrame({"a": [1, 2]}, index=index).to_parquet(sink)
        assert read(sink.getvalue()) == {"a": [1, 2]}


def make_types():
    import datetime
    import decimal

    day = datetime.date(2024, 1, 31)
    return {
        "bool": pa.array([True]),
        "int8": pa.array([1], pa.int8()),
        "uint64": pa.array([2**64 - 1], pa.uint64()),
        "halffloat": pa.array(np.array([1.5], np.float16)),
        "float": pa.array([1.5], pa.float32()),
        "decimal": pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2)),
        "decimal256": pa.array([decimal.Decimal("1.50")], pa.decimal256(40, 2)),
        "string": pa.array(["x"]),
        "large_string": pa.array(["x"], pa.large_string()),
        "string_view": pa.array(["x"], pa.string_view()),
        "dictionary<values=string": pa.array(["x"]).dictionary_encode(),
        "dictionary<values=string_view": pa.DictionaryArray.from_arrays([0], pa.array(["x"], pa.string_view())),
        "null": pa.array([None]),
        "date32": pa.array([day]),
        "timestamp": pa.array([datetime.datetime(2024, 1, 31)]),
        "time64": pa.array([datetime.time(1)]),
        "duration": pa.array([datetime.timedelta(1)]),
        "month_day_nano_interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
        "binary": pa.array([b"x"]),
        "fixed_size_binary": pa.array([b"x"], pa.binary(1)),
        "list": pa.array([[1]]),
        "struct": pa.array([{"a": 1}]),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        "dictionary<values=date32": pa.array([day]).dictionary_encode(),
    }


RIGHT = ("bool", "int8", "uint64", "halffloat", "float", "decimal", "decimal256", "null")
TEXTS = ("string", "large_string", "string_view", "dictionary<values=string", "dictionary<values=string_view")


@pytest.mark.parametrize("kind", make_types())
def test_each_type_is_right_or_refused_by_name(kind):
    table = tables.Table({"x": make_types()[kind]})
    if kind in TEXTS:
        assert table.take(["x"])[0].texts == ["x"]
    elif kind in RIGHT:
        number = {"bool": 1.0, "int8": 1.0, "uint64": 2.0**64, "null": np.nan}.get(kind, 1.5)
        np.testing.assert_array_equal(table.take(["x"])[0].read_numbers(False), [number])
    else:
        with pytest.raises(TableError) as caught:
            table.take(["x"])
        name = kind.removeprefix("dictionary<values=")
        assert f"column 'x' is of type {name}" in str(caught.value)
        assert "numbers, booleans and text are what can be used: make such of it, or leave it out with drop='x'" in str(
            caught.value
        )


def test_frames():
    pandas = pytest.importorskip("pandas")
    columns = {"a": [1.5, None], "b": ["x", None], 3: [True, False]}
    frame = pandas.DataFrame(columns)
    for table in (
        frame,
        frame.convert_dtypes(),
        frame.astype({"b": object}),
        columns,
        pa.table(frame.rename(str, axis=1)),
    ):
        found = tables.Table.of(table)
        assert found.names == ["a", "b", "3"]
        assert len(found) == 2
        assert [cells.values.to_pylist() for cells in found.take(found.names)] == [
            [1.5, None],
            ["x", None],
            [True, False],
        ]
    assert tables.Table.of(found) is found
    assert repr(found) == "Table: 2 rows of 3 columns: 'a', 'b', '3'"
    assert len(tables.Table.of({})) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda pandas: pandas.DataFrame([[1, 2]], columns=["a", "a"]), "the table has columns of the same name: 'a'"),
        (lambda pandas: pandas.DataFrame({"a": [1, "x"]}), "column 'a' is none of numbers, booleans or text alone: "),
        (lambda pandas: pandas.DataFrame({"a": [1j]}), "column 'a' is none of numbers, booleans or text alone: Unsupp"),
        (lambda pandas: {"a": [1], "b": [1, 2]}, "the columns of the table differ in length: {'a': 1, 'b': 2}"),
        (lambda pandas: {"a": 5}, "column 'a' is none of numbers, booleans or text alone: "),
    ],
)
def test_frames_that_are_no_tables(make, message):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TableError) as caught:
        tables.Table.of(make(pandas))
    assert message in str(caught.value)


def test_what_is_no_frame():
    with pytest.raises(TypeError, match="if it is a file: fastnn.tables.read\\('data.csv'\\)"):
        tables.Table.of("data.csv")
    with pytest.raises(TypeError, match="a table is wanted: a frame of pandas, polars or Arrow.*; got ndarray"):
        tables.Table.of(np.ones((2, 2)))


def test_a_column_is_no_frame():
    pandas = pytest.importorskip("pandas")
    series = pandas.DataFrame({"x": [1, 2], "y": ["a", "b"]})["y"]
    with pytest.raises(TypeError, match=r"^a table is wanted: .*; got Series: .*series.to_frame\(\)"):
        tables.Table.of(series)
    assert tables.Table.of(series.to_frame()).names == ["y"]
    for ways in ({}, {"__arrow_c_stream__": None}):  # older versions of pandas have none
        with pytest.raises(TypeError, match=r"series.to_frame\(\)"):
            tables.Table.of(SimpleNamespace(to_frame=None, **ways))
    with pytest.raises(TypeError, match=r"^a table is wanted: .*; got ChunkedArray$"):
        tables.Table.of(pa.chunked_array([[1, 2]]))


def test_columns_that_are_not_there():
    table = parse(b" b ,d\n1,2\n", "new.csv")
    with pytest.raises(TableError, match="new.csv lacks columns that the model needs: 'a', 'c'; it has 'b', 'd'"):
        table.take(["a", "b", "c"])
    with pytest.raises(TableError, match="new.csv lacks column that the model needs: 'c'"):
        table.take(["b", "c"])
    assert table.take([" b"])[0].texts == ["1"]  # as files of before have it


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="none.csv"):
        tables.read(tmp_path / "none.csv")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    assert tables.read(str(tmp_path / "data.csv")).names == ["a", "b"]
