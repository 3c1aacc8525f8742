"""Columns of tables as inputs: what goes in, what is refused."""

import numpy as np
import pytest

from fastnn._columns import (
    Category,
    Number,
    check_missing,
    encode_inputs,
    fit_inputs,
    holds_classes,
    list_names,
    read_numbers,
    split_rows,
)

pandas = pytest.importorskip("pandas")


def column(*values, **options):
    return pandas.Series(values, name="x", **options)


def test_numbers_are_standardised_by_the_rows_to_train_on():
    number = Number.fit(column(1, 2, 3, 1000), np.array([0, 1, 2]))
    assert (number.mean, number.width) == (2.0, 1)
    assert number.scale == pytest.approx(np.std([1, 2, 3]))
    encoded = number.encode(column(1, 2, 3))
    np.testing.assert_allclose(encoded.ravel(), np.array([-1, 0, 1]) / np.std([1, 2, 3]))
    np.testing.assert_allclose(number.decode(encoded.ravel()), [1, 2, 3])


# The mean of equal numbers is not always that number, nor their deviation zero.
@pytest.mark.parametrize("values", [[0.1] * 7, [0, 0], [5e-324, 0.0]])
def test_a_constant_has_scale_1(values):
    assert Number.fit(column(*values), np.arange(len(values))).scale == 1.0


@pytest.mark.parametrize("dtype", [bool, "int8", "uint64", "float32", "Int64", "boolean"])
def test_numbers_of_any_kind(dtype):
    np.testing.assert_array_equal(read_numbers(column(0, 1, 1, dtype=dtype)), [0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "n/a", "4"], "column 'x' must hold numbers, and has 'n/a' in row 3"),
        (["1", "2"], "column 'x' must hold numbers, and has '1' in row 1"),
        ([1.0, np.inf], "column 'x' must hold finite numbers, and has infinity in row 2"),
    ],
)
def test_what_is_no_number_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read_numbers(column(*values))


def test_numbers_too_large_for_their_deviation_are_refused():
    with pytest.raises(ValueError, match="column 'x' cannot be standardised, with mean .* and scale inf"):
        Number.fit(column(-1e308, 1e308), np.arange(2))


@pytest.mark.parametrize("parts", [(1, 0, 1.0), ("x", 0, 1.0), ("x", 0.0, "1"), ("x", 0.0, True)])
def test_parts_of_a_number_are_floats(parts):
    with pytest.raises(TypeError):
        Number(*parts)


@pytest.mark.parametrize("parts", [(np.nan, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, np.inf), (np.inf, 1.0)])
def test_a_number_is_finite(parts):
    with pytest.raises(ValueError, match="cannot be standardised"):
        Number("x", *parts)


def test_categories_are_one_hot():
    category = Category.fit(column("b", "a", "b", "c"))
    assert (category.values, category.width) == (("a", "b", "c"), 3)
    np.testing.assert_array_equal(category.find(column("c", "a")), [2, 0])
    np.testing.assert_array_equal(category.encode(column("c", "a")), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([10, 9, 1], ("1", "9", "10")),
        ([10.0, 9.0], ("9", "10")),
        ([0.5, 2.0], ("0.5", "2")),
        ([True, False], ("False", "True")),
        (["inf", "nan", "b", "2"], ("2", "b", "inf", "nan")),
    ],
)
def test_values_are_sorted_texts(values, texts):
    assert Category.fit(column(*values)).values == texts
    assert Category.fit(column(*values, dtype="category")).values == texts


def test_a_new_category_is_refused():
    with pytest.raises(ValueError, match="column 'x' has 'c' in row 2, and the model knows 'a', 'b'"):
        Category("x", ("a", "b")).encode(column("a", "c"))


@pytest.mark.parametrize("n", [100, 101])
def test_too_many_values_are_no_categories(n):
    names = column(*[f"name {k}" for k in range(n)])
    if n == 100:
        assert Category.fit(names).width == 100
    else:
        with pytest.raises(ValueError, match="101 different values, such as 'name 0', and at most 100"):
            Category.fit(names)


@pytest.mark.parametrize("n", [20, 21])
def test_numbers_with_a_slip_are_no_categories(n):
    values = column(*map(str, range(n)), "none")
    if n == 20:
        assert Category.fit(values).width == 21
    else:
        with pytest.raises(ValueError, match="must hold numbers, and has 'none' in row 22"):
            Category.fit(values)


def test_all_numbers_as_text_are_categories():
    assert Category.fit(column(*map(str, range(30)))).width == 30


@pytest.mark.parametrize("values", [(), (1, 2)])
def test_values_are_texts(values):
    with pytest.raises(TypeError, match="values of column 'x' must be texts"):
        Category("x", values)


def test_values_are_different():
    with pytest.raises(ValueError, match="values of column 'x' must be different"):
        Category("x", ("a", "a"))


def test_a_frame_is_encoded_in_the_order_of_the_model():
    frame = pandas.DataFrame({"size": [1.0, 3.0], "colour": ["red", "blue"], "old": [True, False]})
    inputs = fit_inputs(frame, np.arange(2))
    assert [type(column) for column in inputs] == [Number, Category, Number]
    expected = [[-1, 0, 1, 1], [1, 1, 0, -1]]
    np.testing.assert_array_equal(encode_inputs(inputs, frame), expected)
    shuffled = frame[["old", "size", "colour"]].assign(more=np.nan)
    np.testing.assert_array_equal(encode_inputs(inputs, shuffled), expected)


def test_dates_are_refused():
    frame = pandas.DataFrame({"day": pandas.to_datetime(["2020-01-01", "2020-01-02"])})
    with pytest.raises(ValueError, match="column 'day' is datetime64.*; inputs are numbers or text: drop it"):
        fit_inputs(frame, np.arange(2))


def test_columns_that_are_not_there():
    inputs = [Number("a", 0.0, 1.0), Number("b", 0.0, 1.0), Number("c", 0.0, 1.0)]
    with pytest.raises(ValueError, match="the table lacks columns that the model needs: 'a', 'c'; it has 'b', 'd'"):
        encode_inputs(inputs, pandas.DataFrame({"b": [1], "d": [1]}))
    with pytest.raises(ValueError, match="the table lacks column that the model needs: 'c'"):
        encode_inputs(inputs, pandas.DataFrame({"a": [1], "b": [1]}))


def test_missing_values():
    frame = pandas.DataFrame({"a": [1.0, np.nan, np.nan], "b": ["x", None, "y"], "c": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"missing in columns 'a' \(2 of 3\), 'b' \(1 of 3\): fill them, or drop"):
        check_missing(frame)
    check_missing(frame[["c"]])
    with pytest.raises(ValueError, match="the table has no rows"):
        check_missing(frame[:0])


@pytest.mark.parametrize(
    ("values", "is_classes"),
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
def test_classes_are_told_from_numbers(values, is_classes):
    assert holds_classes(column(*values)) is is_classes


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
