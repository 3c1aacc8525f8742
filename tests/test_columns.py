"""Columns of tables as inputs: which kind they are of, what goes in, what is refused."""

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from fastnn.model.samples import split_rows  # noqa: E402
from fastnn.tables import Table, TableError  # noqa: E402
from fastnn.tables._columns import MAX_VALUES, Category, Number  # noqa: E402
from fastnn.tables._errors import list_names  # noqa: E402
from fastnn.tables._kinds import holds_categories, holds_classes  # noqa: E402


def typed(*values):
    """Return a column x of Arrow's types."""
    return Table({"x": pa.array(values)}).take(["x"])[0]


def listed(*values):
    """Return a column x whose type lists its values."""
    return Table({"x": pa.array(values).dictionary_encode()}).take(["x"])[0]


def text(*values, decimal=".", na=None):
    """Return a column x of a file of text."""
    return Table({"x": pa.array(values, pa.string())}, is_text=True, decimal=decimal).take(["x"], na)[0]


def fit_number(cells, rows=None, fills=False):
    rows = np.arange(len(cells)) if rows is None else np.array(rows)
    return Number.fit(cells, rows, truths=cells.is_boolean, fills=fills)


def fit_category(cells, rows=None, frequent=None, fills=False):
    rows = np.arange(len(cells)) if rows is None else np.array(rows)
    return Category.fit(cells, rows, rows if frequent is None else np.array(frequent), fills=fills)


# Numbers


@pytest.mark.parametrize("cells", [typed(1, 2, 3, 1000), text("1", "2.0", "3e0", "1000")])
def test_numbers_are_standardised_by_the_rows_to_train_on(cells):
    number = fit_number(cells, [0, 1, 2])
    assert (number.mean, number.width, number.fill) == (2.0, 1, None)
    assert number.scale == pytest.approx(np.std([1, 2, 3]))
    encoded = number.encode(cells, np.arange(3))
    np.testing.assert_allclose(encoded.ravel(), np.array([-1, 0, 1]) / np.std([1, 2, 3]))
    np.testing.assert_allclose(number.decode(encoded.ravel()), [1, 2, 3])


# The mean of equal numbers is not always that number, nor their deviation zero.
@pytest.mark.parametrize("values", [[0.1] * 7, [0, 0], [5e-324, 0.0]])
def test_a_constant_has_scale_1(values):
    assert fit_number(typed(*values)).scale == 1.0


@pytest.mark.parametrize(
    "type", ["bool", "int8", "uint64", "float32", "float16", "decimal128(10, 2)", "decimal256(40, 2)"]
)
def test_numbers_of_any_type(type):
    to = {"decimal128(10, 2)": pa.decimal128(10, 2), "decimal256(40, 2)": pa.decimal256(40, 2)}.get(type, type)
    values = pa.array([False, True, None]) if type == "bool" else pa.array([0.0, 1.0, None]).cast(to)
    (cells,) = Table({"x": values}).take(["x"])
    assert not holds_categories(cells)
    np.testing.assert_array_equal(cells.read_numbers(False), [0.0, 1.0, np.nan])


@pytest.mark.parametrize(
    ("written", "number"),
    [("5", 5), ("-5.", -5), (".5", 0.5), ("+5", 5), ("1e3", 1000), ("1.5E-3", 0.0015), (" 7\t", 7), ("007", 7)],
)
def test_numbers_as_text(written, number):
    np.testing.assert_array_equal(text(written, "NA", "").read_numbers(False), [number, np.nan, np.nan])
    assert text(written.replace(".", ","), decimal=",").read_numbers(False)[0] == number


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (text("1", "2", "n.a."), "column 'x' has 'n.a.' in row 3, which is no number"),
        (text("1", "true"), "column 'x' has 'true' in row 2, which is no number"),
        (text("1", "1e999"), "column 'x' has '1e999' in row 2, which is beyond the range of float64"),
        (text("1", "-inf"), "column 'x' has '-inf' in row 2, which is infinity"),
        (
            text("1", str(2**64)),
            "column 'x' has '18446744073709551616' in row 2, which is a whole number beyond 64 bits",
        ),
        (
            text("5", str(-(2**63) - 1)),
            "column 'x' has '-9223372036854775809' in row 2, which is a whole number beyond",
        ),
        (text("1", "1,5"), "'1,5' in row 2, which is a number only if ',' is the decimal mark: say decimal=',' if so"),
        (text("1", "1.5", decimal=","), "'1.5' in row 2, which is a number only if '.' is the decimal mark"),
        (typed(1.0, np.inf), "column 'x' has 'inf' in row 2, which is infinity"),
    ],
)
def test_what_is_no_number_is_refused(cells, message):
    with pytest.raises(TableError) as caught:
        cells.read_numbers(False)
    assert message in str(caught.value)


@pytest.mark.parametrize("written", [str(2**64 - 1), str(-(2**63)), "1" * 30 + ".0", "1.7e308"])
def test_large_numbers(written):
    assert text(written).read_numbers(False)[0] == float(written)


def test_numbers_too_large_for_their_deviation_are_refused():
    with pytest.raises(ValueError, match="column 'x' cannot be standardised, with mean .* and scale inf"):
        fit_number(typed(-1e308, 1e308))


def test_booleans_in_any_spelling_are_zero_and_one():
    cells = text("True", "FALSE", "true", "NA")
    assert cells.is_boolean
    assert not holds_categories(cells)
    np.testing.assert_array_equal(cells.read_numbers(True), [1, 0, 1, np.nan])
    assert fit_number(cells).truths
    assert not fit_number(text("0", "1")).truths
    assert not text("true", "maybe").is_boolean
    assert not text("NA").is_boolean


def test_missing_numbers_are_filled_with_the_mean():
    cells = text("1", "NA", "3", "NA")
    number = fit_number(cells, [0, 1, 2], fills=True)
    assert number.fill == number.mean == 2.0
    np.testing.assert_array_equal(number.encode(cells, np.arange(4)).ravel(), [-1, 0, 1, 0])


@pytest.mark.parametrize(
    "parts",
    [(1, 0, 1.0), ("x", 0, 1.0), ("x", 0.0, "1"), ("x", 0.0, True), ("x", 0.0, 1.0, "2"), ("x", 0.0, 1.0, None, 1)],
)
def test_parts_of_a_number_are_floats(parts):
    with pytest.raises(TypeError):
        Number(*parts)


@pytest.mark.parametrize("parts", [(np.nan, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, np.inf), (np.inf, 1.0)])
def test_a_number_is_finite(parts):
    with pytest.raises(ValueError, match="cannot be standardised"):
        Number("x", *parts)
    with pytest.raises(TypeError, match="what is missing in column 'x' cannot be taken for nan"):
        Number("x", 0.0, 1.0, np.nan)


# Categories


def test_categories_are_one_hot():
    cells = text("b", "a", "b", "c")
    category = fit_category(cells)
    assert (category.values, category.width, category.type) == (("a", "b", "c"), 3, "text")
    np.testing.assert_array_equal(category.find(cells, np.array([3, 1])), [2, 0])
    np.testing.assert_array_equal(category.encode(cells, np.array([3, 1])), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("values", "texts", "classes"),
    [
        ([10, 9, 1], ("1", "9", "10"), [1, 9, 10]),
        ([10.0, 9.0], ("9", "10"), [9, 10]),
        ([0.5, 2.0], ("0.5", "2"), ["0.5", "2"]),
        ([True, False], ("False", "True"), [False, True]),
        (["ward", "b", "2"], ("2", "b", "ward"), ["2", "b", "ward"]),
    ],
)
def test_values_are_sorted_texts_and_come_back_as_they_were(values, texts, classes):
    category = fit_category(typed(*values))
    assert category.values == texts
    assert category.classes.tolist() == classes
    assert fit_category(listed(*values)).values == texts


def test_categories_of_a_text_are_as_written():
    assert fit_category(text("01", "1", "1.0", " ICU ")).values == ("01", "1", "1.0", "ICU")


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (text("1.0", "0", "1", "0.0", "NA", "+1", " 1. "), ("0", "1")),
        (text("1e3", "1000", "5e-1", ".50", "-0"), ("0", "0.5", "1000")),
        (text("1,5", "1,50", "2", decimal=","), ("1.5", "2")),
        (text("9007199254740993", "9007199254740992"), ("9007199254740992", "9007199254740993")),  # beyond float64
        (text("true", "FALSE", "True", "NA"), ("False", "True")),
        (text("007", "7", "7.0"), ("007", "7", "7.0")),
        (text("1", "1.0", "abc"), ("1", "1.0", "abc")),
        (text("1", "true"), ("1", "true")),
        (text("1e998", "1e999"), ("1e998", "1e999")),
        (text("1" * 30, "1" * 29 + "2"), ("1" * 30, "1" * 29 + "2")),
        (typed("1", "1.0"), ("1", "1.0")),  # its type says text
    ],
)
def test_numbers_and_truths_of_a_file_are_spelled_as_those_of_a_type(cells, values):
    category = fit_category(cells, np.flatnonzero(~cells.is_missing))
    assert category.values == values
    assert category.type == "text"
    found = category.find(cells, np.flatnonzero(~cells.is_missing))
    assert set(found) == set(range(len(values)))


@pytest.mark.parametrize(
    ("values", "cells", "found"),
    [
        (("0", "1"), text("1.0", "0", "1", "-0.0", "+1"), [1, 0, 1, 0, 1]),
        (("0", "1"), typed(1.0, 0.0), [1, 0]),
        (("0", "1"), typed("1.0", "0"), [1, 0]),
        (("0.5", "1"), text("0,50", "1,0", decimal=","), [0, 1]),
        (("False", "True"), text("true", "FALSE"), [1, 0]),
        # Files of before have them as they were written, perhaps in several ways.
        (("0.0", "1.0"), text("1", "0.0"), [1, 0]),
        ((" 0.0", " 1.0"), typed(1, 0), [1, 0]),
        (("false", "true"), typed(True, False), [1, 0]),
        (("0", "0.0", "1", "1.0"), text("1.0", "0", "0.0"), [3, 0, 1]),
    ],
)
def test_numbers_and_truths_are_known_in_any_spelling(values, cells, found):
    np.testing.assert_array_equal(Category("x", values).find(cells, np.arange(len(cells))), found)


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        (("1", "7"), text("007")),  # a code
        (("1", "7"), text("true")),
        (("False", "True"), text("1")),
        (("1", "7"), text("7" * 5000)),
        (("01", "1"), text("1.0")),
        (("1", "ICU"), text("1.0")),
        (("0", "0.0", "1"), text("1.00")),
    ],
)
def test_other_texts_are_not_known(values, cells):
    with pytest.raises(TableError, match="in row 1, and the model knows"):
        Category("x", values).find(cells, np.arange(1))


def test_a_number_in_several_spellings_is_counted_once():
    cells = text("1", "1.0", "1.00", "2", "2")
    assert fit_category(cells, fills=True).fill == "1"


def test_spaces_around_values_of_files_of_before():
    cells = text("Male", " Female")
    np.testing.assert_array_equal(Category("x", (" Female", " Male")).find(cells, np.arange(2)), [1, 0])


def test_a_new_category_is_refused():
    with pytest.raises(TableError, match="column 'x' has 'c' in row 2, and the model knows 'a', 'b'"):
        Category("x", ("a", "b")).encode(text("a", "c"), np.arange(2))


def test_missing_values_are_filled_with_the_most_frequent_one():
    cells = text("a", "b", "NA", "b", "a", "a")
    category = fit_category(cells, frequent=[1, 2, 3, 4], fills=True)
    assert category.fill == "b"
    np.testing.assert_array_equal(category.find(cells, np.arange(3)), [0, 1, 1])
    with pytest.raises(ValueError, match="what is missing in column 'x' cannot be taken for 'c'"):
        Category("x", ("a", "b"), "c")


def test_values_that_differ_in_case_are_told():
    with pytest.warns(UserWarning, match="column 'x' has 'Yes' and 'yes', which are taken as different"):
        fit_category(text("Yes", "yes", "no"))


@pytest.mark.parametrize("n", [MAX_VALUES, MAX_VALUES + 1])
def test_too_many_values_are_no_categories(n):
    cells = text(*[f"name {k}" for k in range(n)])
    if n == MAX_VALUES:
        assert fit_category(cells).width == MAX_VALUES
    else:
        with pytest.raises(TableError, match="257 different values, such as 'name 0', and at most 256"):
            fit_category(cells)


@pytest.mark.parametrize("values", [(), (1, 2)])
def test_values_are_texts(values):
    with pytest.raises(TypeError, match="values of column 'x' must be texts"):
        Category("x", values)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((("a", "a"),), "must be different"),
        ((("a", "b"), None, "float"), "cannot be of type 'float'"),
        ((("a", "b"), None, "integer"), "invalid literal"),
        ((("a", "b"), None, "boolean"), "not in tuple"),
    ],
)
def test_parts_of_a_category_fit_together(parts, message):
    with pytest.raises(ValueError, match=message):
        Category("x", *parts)


@pytest.mark.parametrize("fit", [fit_number, fit_category])
def test_values_only_in_rows_that_are_held_out(fit):
    with pytest.raises(
        TableError, match="column 'x' has no values in the rows to train on: leave it out with drop='x'"
    ):
        fit(text("NA", "NA", "1"), [0, 1])


# Kinds


@pytest.mark.parametrize(
    ("cells", "is_so"),
    [
        (text("1", "2", "NA"), False),
        (text("1", "01"), True),  # codes
        (text("0", "0.5"), False),
        (text("1", "01", "ICU"), True),
        (text("<18", "18-65", ">65"), True),
        (text("1st", "2nd", "3rd"), True),
        (text("1A", "1B", "2A", "2B"), True),
        (text("4x4", "2x2"), True),
        (text("5 kg", "no"), True),
        (text("kg"), True),
        (text("5", "6 kg"), True),
        (text("5", "6 kg", "7 g"), True),
        (typed(1, 2), False),
        (typed(True, None), False),
        (typed("1", "2"), True),  # its type says text
        (typed("true", "false"), True),
        (typed(*[str(k % 30) for k in range(90)]), True),
        (listed(*map(str, range(30))), True),
    ],
)
def test_the_kind_of_an_input(cells, is_so):
    assert holds_categories(cells) is is_so


LOOKS_LIKE_NUMBERS = [
    ("1,234", "a number only if ',' is the decimal mark: say decimal=',' if so"),
    ("1,234,567", "a number with separators of thousands: write plain numbers"),
    ("1 234.5", "a number with separators of thousands"),
    ("1'234", "a number with separators of thousands"),
    ("1_000", "a number with separators of thousands"),
    ("$5", "an amount of money"),
    ("-$5.20", "an amount of money"),
    ("5,20 €", "an amount of money"),
    ("EUR 5", "an amount of money"),
    ("$1,234.56", "an amount of money"),
    ("5%", "a percentage"),
    ("5,5 %", "a percentage"),
    ("\u22125", "a number with a sign that is none of - and +"),
    ("- 5", "a number with a sign that is none of - and +"),
    ("5-", "a number with a sign that is none of - and +"),
    ("(5)", "a number with a sign that is none of - and +"),
    ("~5", "a number with a sign that is none of - and +"),
    ("2024-01-31", "a date or a time: make numbers of it"),
    ("2024-01", "a date or a time"),
    ("31.12.2024", "a date or a time"),
    ("12/31/24", "a date or a time"),
    ("2024-01-31T10:00:00Z", "a date or a time"),
    ("2024-01-31 10:00:00.123+02:00", "a date or a time"),
    ("31-Dec-2024", "a date or a time"),
    ("Jan 5, 2024", "a date or a time"),
    ("10:30", "a date or a time"),
    ("10:30 PM", "a date or a time"),
    ("Infinity", "infinity"),
    ("123456789012345678901", "a whole number beyond 64 bits, as ids are: leave it out"),
    ("1e999", "beyond the range of float64"),
]


@pytest.mark.parametrize(("written", "message"), LOOKS_LIKE_NUMBERS)
@pytest.mark.parametrize("make", [text, typed])
def test_what_looks_like_a_number_and_is_none_is_refused(written, message, make):
    with pytest.raises(TableError) as caught:
        holds_categories(make("none", "some", written))
    assert f"column 'x' has {written!r} in row 3, which is {message}" in str(caught.value)
    assert str(caught.value).endswith("leave it out with drop='x', or take it as it is with category='x'")
    assert caught.value.at_terminal().endswith("leave it out with --drop x, or take it as it is with --category x")


@pytest.mark.parametrize(
    "values", [("5 kg", "6 kg"), ("180cm", "9.5cm", "7"), ("5 kg", "7 kg", "3 g"), ("5.3°C", "6°C")]
)
def test_numbers_with_units_are_refused(values):
    with pytest.raises(TableError) as caught:
        holds_categories(text(*values))
    assert f"column 'x' has {values[0]!r} in row 1, which is a number with its unit: write plain num" in str(
        caught.value
    )


def test_the_first_cell_is_named():
    with pytest.raises(TableError, match="column 'x' has '3 %' in row 3"):
        holds_categories(text("a", "NA", "3 %", "$5"))


def test_all_numbers_but_one_beyond_64_bits():
    with pytest.raises(
        TableError, match="in row 2, which is a whole number beyond 64 bits, as ids are: leave it out with drop"
    ):
        holds_categories(text("5", "1" * 25))


@pytest.mark.parametrize("n", [20, 21])
def test_numbers_with_a_slip_are_no_categories(n):
    cells = text(*map(str, range(n)), "?", *map(str, range(n)), *map(str, range(n)))
    if n == 20:
        assert holds_categories(cells)
    else:
        with pytest.raises(TableError) as caught:
            holds_categories(cells)
        assert str(caught.value).startswith(
            "column 'x' has '?' in row 22, and numbers elsewhere: mend it, if it is a missing value, say na='?', leave"
        )
        assert "say --na '?'," in caught.value.at_terminal()


@pytest.mark.parametrize(("n_different", "n_rows"), [(10, 10), (11, 22), (11, 21)])
def test_ids_are_no_categories(n_different, n_rows):
    cells = text("NA", *[f"patient {k % n_different}" for k in range(n_rows)])
    if n_rows != 21:
        assert holds_categories(cells)
    else:
        with pytest.raises(
            TableError, match="'x' has 11 different texts in 21 rows, as ids and names have: leave it out"
        ):
            holds_categories(cells)


@pytest.mark.parametrize(
    ("values", "is_so"),
    [
        (["a", "b", "a"], True),
        ([True, False], True),
        ([0, 1, 0, 1], True),
        ([0.0, 1.0, 0.0, 1.0], True),
        ([0, 1, 2, 0, 1], False),
        ([0.5, 1.0, 0.5, 1.0], False),
        ([*range(20)] * 2, True),
        ([*range(21)] * 2, False),
    ],
)
def test_classes_are_told_from_numbers(values, is_so):
    for cells in (typed(*values), text(*map(str, values), "NA")):
        assert holds_classes(cells, "auto") is is_so
        assert holds_classes(cells, "classes")
        assert not holds_classes(cells, "numbers")


def test_a_target_that_looks_like_numbers():
    assert holds_classes(text("01", "02"), "auto")
    with pytest.raises(
        TableError, match="'5 %' in row 1, which is a percentage: write plain numbers, or take it as it is"
    ):
        holds_classes(text("5 %"), "auto")


# The rest


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.2, 0.25, 0.5])
def test_rows_are_split_alike_in_each_stratum(fraction):
    strata = np.repeat([0, 1, 2], [100, 40, 2])
    train, held_out = split_rows(strata, fraction, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(142))
    counts = np.bincount(strata[held_out], minlength=3)
    assert (np.abs(counts - fraction * np.array([100, 40, 2])) <= 1).all()
    assert set(strata[train]) == {0, 1, 2}
    again = split_rows(strata, fraction, np.random.default_rng(0))
    np.testing.assert_array_equal(again[1], held_out)
    other = split_rows(strata, fraction, np.random.default_rng(1))
    assert fraction == 0.0 or not np.array_equal(other[1], held_out)


def test_many_names_are_cut():
    assert list_names("abc") == "'a', 'b', 'c'"
    assert list_names(range(11)).endswith("9, 10")
    assert list_names(range(12)).endswith("8, 9, and 2 more")
