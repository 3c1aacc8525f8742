"""Training on tables and predicting their rows: each by its own column's kind, and by itself."""

import csv
import io
import re
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fastnn

pa = pytest.importorskip("pyarrow")

from fastnn import tables  # noqa: E402
from fastnn.callbacks import Callback  # noqa: E402
from fastnn.tables import TableError  # noqa: E402
from fastnn.tables._columns import Category, Number  # noqa: E402
from fastnn.tables._read import parse  # noqa: E402

FAST = {"epochs": 1, "hidden": (3,), "gradient": fastnn.Backprop()}


def write(rows, separator=",", end="\n"):
    """Return rows as the bytes of a CSV file."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


def make_wards(n=60):
    """Return a table with codes, numbers and classes of digits, which the numbers decide."""
    ages = np.random.default_rng(0).integers(20, 90, n)
    rows = [(["1", "01", "ICU"][k % 3], age, ["01", "02"][int(age > 55)]) for k, age in enumerate(ages)]
    return [("ward", "age", "class"), *rows]


@pytest.fixture(scope="module")
def wards():
    return tables.train(parse(write(make_wards()), "wards"), "class", **FAST).model


def test_categories_and_classes_are_text_as_written(wards):
    assert wards.inputs[0] == Category("ward", ("01", "1", "ICU"))
    assert wards.target == Category("class", ("01", "02"))
    assert wards.classes.tolist() == ["01", "02"]
    assert set(wards.predict(parse(write(make_wards()), "wards"))) <= {"01", "02"}


def test_a_row_is_predicted_alike_whatever_stands_beside_it(wards):
    alone = wards.predict_proba(parse(b"ward,age\n01,30\n", "one"))
    beside = wards.predict_proba(parse(b"ward,age\n01,30\nICU,30\n", "two"))
    np.testing.assert_array_equal(alone[0], beside[0])
    with pytest.raises(TableError, match="column 'ward' has '001' in row 1, and the model knows '01', '1', 'ICU'"):
        wards.predict(parse(b"ward,age\n001,30\n", "one"))
    # Numbers by their type are what they are as text; text by its type is read by the column's kind.
    for ward, age in ((1, 30), (1.0, "30"), ("1", 30.0)):
        typed = wards.predict_proba({"ward": [ward], "age": [age]})
        np.testing.assert_array_equal(typed, wards.predict_proba(parse(b"ward,age\n1,30\n", "one")))


TEXTS = st.text(st.sampled_from("01aB ;,.'é-"), min_size=1, max_size=4)
NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6).map(str), st.floats(-1e6, 1e6).map(repr), st.sampled_from(["01", "+5", "1e3"])
)
TRUTHS = st.sampled_from(["True", "false", "TRUE", "0", "1"])
GAPS = st.sampled_from(["", "NA", "nan", "?"])


@st.composite
def draw_tables(draw):
    """Return rows of a column of texts, one of numbers and one of booleans, each with gaps."""
    n = draw(st.integers(2, 12))
    kinds = [st.one_of(kind, kind, kind, GAPS) for kind in (TEXTS, NUMBERS, TRUTHS)]
    columns = [draw(st.lists(kind, min_size=n, max_size=n)) for kind in kinds]
    return list(zip(*columns, ["x", "y"] * n, strict=False))


@hypothesis.given(rows=draw_tables(), missing=st.sampled_from(["drop", "fill"]), separator=st.sampled_from(",;\t|"))
@hypothesis.settings(max_examples=50, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@pytest.mark.filterwarnings("ignore:column .* taken as different")
def test_the_predictions_of_a_table_are_those_of_its_rows(rows, missing, separator):
    head = ("text", "number", "truth", "target")
    table = parse(write([head, *rows], separator), "table", separator=separator, decimal=".")
    try:
        model, *_ = tables.train(table, "target", missing=missing, na="?", **{**FAST, "epochs": 0, "validation": 0})
    except TableError:
        hypothesis.assume(False)
    alone = [parse(write([head, row], separator), "row", separator=separator, decimal=".") for row in rows]
    # What the network sees is the same bit for bit; its sums, where BLAS does them, only to rounding.
    np.testing.assert_array_equal(model.encode(table)[0], np.vstack([model.encode(row)[0] for row in alone]))
    shares = np.vstack([model.predict_proba(row) for row in alone])
    np.testing.assert_allclose(model.predict_proba(table), shares, rtol=0, atol=1e-13)


def test_decimal_commas_train_as_well_as_points():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2)).round(3)
    rows = [("a", "b", "t"), *((a, b, "yes" if a > b else "no") for a, b in X.tolist())]
    german = write(rows, ";").replace(b".", b",")
    options = {**FAST, "epochs": 30, "optimizer": fastnn.Adam(0.03)}
    points, commas = (tables.train(parse(content, "t"), "t", **options) for content in (write(rows), german))
    assert commas.measured == points.measured
    assert commas.measured["validation"]["accuracy"] > 0.9
    assert (points.model.decimal, commas.model.decimal) == (".", ",")
    # Either reads the other's file.
    for model in (points.model, commas.model):
        np.testing.assert_array_equal(model.predict(parse(german, "t")), model.predict(parse(write(rows), "t")))
    # One that was trained on commas takes a point there for what it is: perhaps one of thousands.
    with pytest.raises(
        TableError, match="'1.500' in row 1, which is a number only if '.' is the decimal mark: say decimal"
    ):
        commas.model.predict(parse(b"a;b\n1.500;2\n", "t"))
    assert commas.model.predict(parse(b"a;b\n1.500;2\n", "t", decimal=".")).tolist() == ["no"]


def test_a_model_is_usable_on_its_table_however_that_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=60)
    odd = np.arange(60) % 2 == 1
    spelled = {
        "int": np.where(x > 0, 1, 0),
        "float": np.where(x > 0, 1.0, 0.0),
        "bool": x > 0,
        "truths": np.where(x > 0, "true", "false"),
        "mixed": np.where(x > 0, np.where(odd, "1", "1.0"), np.where(odd, "0", "0.0")),
    }
    found = {}
    for name, y in spelled.items():
        frame = pandas.DataFrame({"x": x, "c": spelled["float"] + odd, "y": y})
        path = tmp_path / f"{name}.csv"
        frame.to_csv(path, index=False)
        found[name] = [tables.read(path), pandas.read_csv(path)]
    for alike in (("int", "float", "mixed"), ("bool", "truths")):
        given = [table for name in alike for table in found[name]]
        for table in given:
            model = tables.train(table, "y", category="c", **FAST).model
            assert len(model.classes) == 2
            assert model.inputs[1].values == ("0", "1", "2")
            measured = [model.evaluate(other) for other in given]
            assert measured == measured[:1] * len(given)


def test_true_and_false_are_read_where_they_were_trained_on():
    rows = [("old", "size", "t"), *(("TRUE" if k % 2 else "False", k, "xy"[k % 2]) for k in range(20))]
    model = tables.train(parse(write(rows), "t"), "t", **FAST).model
    assert model.inputs[0].truths
    assert not model.inputs[1].truths
    spelled = [model.predict_proba(parse(f"old,size\n{true},3\n".encode(), "t")) for true in ("true", "True", "1")]
    spelled.append(model.predict_proba({"old": [True], "size": [3]}))
    np.testing.assert_array_equal(spelled, spelled[:1] * 4)
    with pytest.raises(
        TableError, match="column 'size' has 'true' in row 1, which is no number: mend it, or leave the row out"
    ):
        model.predict(parse(b"old,size\ntrue,true\n", "t"))


def make_penguins(n=120):
    """Return a table like that of the penguins of Palmer station: three species, gaps as NA."""
    rng = np.random.default_rng(0)
    rows = [("species", "island", "bill_length_mm", "body_mass_g", "sex", "year")]
    for k in range(n):
        species = k % 3
        bill, mass = 38 + 5 * species + rng.normal(), 3700 + 600 * species + 100 * rng.normal()
        island = ["Torgersen", "Dream", "Biscoe"][(species + (rng.random() < 0.2)) % 3]
        gap = "NA" if k % 11 == 5 else None
        sex = "NA" if k % 17 == 3 else ["male", "female"][k % 2]
        name = ["Adelie", "Chinstrap", "Gentoo"][species]
        rows.append((name, island, gap or f"{bill:.1f}", gap or f"{mass:.0f}", sex, 2007 + k % 3))
    return parse(write(rows), "penguins.csv")


def test_missing_values_are_refused():
    message = (
        r"values are missing in columns 'bill_length_mm' \(11 of 120\), 'body_mass_g' \(11 of 120\), "
        r"'sex' \(7 of 120\), first in row 4: leave such rows out, or train with missing='fill' or missing='drop'"
    )
    with pytest.raises(TableError, match=message):
        tables.train(make_penguins(), "species", **FAST)


def test_missing_values_are_filled():
    penguins = make_penguins()
    model, _, measured = tables.train(
        penguins, "species", missing="fill", **{**FAST, "epochs": 30}, optimizer=fastnn.SGD(0.3)
    )
    assert measured["validation"]["accuracy"] > 0.9
    assert model.evaluate(penguins)["accuracy"] > 0.9
    bill, sex = model.inputs[1], model.inputs[3]
    assert bill.fill == bill.mean
    assert sex.fill in ("male", "female")
    row = {"island": ["Dream"], "bill_length_mm": [None], "body_mass_g": [4000], "sex": [None], "year": [2008]}
    filled = {**row, "bill_length_mm": [bill.mean], "sex": [sex.fill]}
    np.testing.assert_array_equal(model.predict_proba(row), model.predict_proba(filled))
    # In columns too that had no gaps.
    assert len(model.predict({**row, "island": [None], "year": [None]})) == 1


def test_the_mean_and_the_most_frequent_are_of_the_rows_that_are_trained_on():
    penguins = make_penguins()
    model, *_ = tables.train(penguins, "species", missing="fill", validation=0.5, **FAST)
    whole, *_ = tables.train(penguins, "species", missing="fill", validation=0, **FAST)
    assert model.notes["held out"] == 60
    assert model.inputs[1].mean != whole.inputs[1].mean
    (bill,) = penguins.take(["bill_length_mm"])
    assert whole.inputs[1].mean == pytest.approx(np.nanmean(bill.read_numbers(False)))


def test_rows_with_missing_values_are_dropped():
    penguins = make_penguins()
    model, _, measured = tables.train(penguins, "species", missing="drop", **FAST)
    assert model.notes["rows"] + model.notes["held out"] == 120 - 17
    predicted, shares = model.predict(penguins), model.predict_proba(penguins)
    is_empty = np.array([value is None for value in predicted])
    assert is_empty.sum() == 17
    np.testing.assert_array_equal(np.isnan(shares).all(axis=1), is_empty)
    X, y = model.encode(penguins)
    assert len(X) == len(y) == 103
    assert model.evaluate(penguins)["loss"] == pytest.approx(
        0.8 * measured["training"]["loss"] + 0.2 * measured["validation"]["loss"], rel=0.1
    )
    with pytest.raises(TableError, match="column 'size' has no values: leave it out with drop='size'"):
        tables.train({"size": [None] * 9, "t": [*"xyx"] * 3}, "t", missing="drop", **FAST)
    # Of rows that all have missing values nothing is predicted.
    row = {"island": [None], "bill_length_mm": [40.0], "body_mass_g": [4000], "sex": ["male"], "year": [2008]}
    assert model.predict(row).tolist() == [None]
    with pytest.raises(TableError, match="every row has missing values: there is nothing to measure"):
        model.evaluate({**row, "species": ["Adelie"]})
    numbers, *_ = tables.train(penguins, "body_mass_g", missing="drop", **FAST)
    assert np.isnan(numbers.predict({**row, "species": ["Adelie"]})).tolist() == [True]


@pytest.mark.parametrize("missing", ["drop", "fill"])
def test_rows_without_a_target_are_left_out(missing):
    model, *_ = tables.train(make_penguins(), "sex", missing=missing, **FAST)
    gaps = 7 if missing == "fill" else 17
    assert model.notes["rows"] + model.notes["held out"] == 120 - gaps
    assert len(model.encode(make_penguins())[1]) == 120 - gaps
    assert len(model.predict(make_penguins())) == 120


def test_what_counts_as_missing_can_be_said():
    rows = [
        ("a", "country", "t"),
        *((k % 7 or "-999", ["NA", "DE", "unbekannt"][k % 3], "xy"[k % 2]) for k in range(40)),
    ]
    content = write(rows)
    model, *_ = tables.train(parse(content, "t"), "t", missing="fill", na=["-999", "UNBEKANNT"], **FAST)
    assert model.inputs[1].values == ("DE", "NA")
    assert model.na == ("-999", "UNBEKANNT")
    new = [parse(f"a,country\n{a},{country}\n".encode(), "t") for a, country in (("", ""), ("-999", "unbekannt"))]
    np.testing.assert_array_equal(*map(model.predict_proba, new))
    assert model.inputs[0].mean > 0


def make_flights(n=200):
    """Return a table like that of the flights from New York: clock times as numbers, gaps, a tail number, a date."""
    rng = np.random.default_rng(0)
    rows = [("month", "dep_time", "dep_delay", "arr_delay", "carrier", "tailnum", "dest", "time_hour")]
    for k in range(n):
        delay = rng.integers(-10, 60)
        late = delay + rng.integers(-5, 5)
        gone = k % 23 == 7
        rows.append(
            (
                k % 12 + 1,
                "NA" if gone else 500 + k,
                "NA" if gone else delay,
                "NA" if gone else late,
                ["UA", "AA", "B6"][k % 3],
                f"N{10000 + k}",
                f"D{k % 60:02d}",
                f"2013-01-{k % 28 + 1:02d}T05:00:00Z",
            )
        )
    return parse(write(rows), "flights.csv")


def test_flights():
    options = {**FAST, "epochs": 20, "optimizer": fastnn.Adam(0.03), "hidden": ()}
    flights = make_flights()
    with pytest.raises(
        TableError, match="column 'tailnum' has 200 different texts in 200 rows, as ids and names have: leave"
    ):
        tables.train(flights, "arr_delay", missing="fill", **options)
    with pytest.raises(
        TableError, match="column 'time_hour' has '2013-01-01T05:00:00Z' in row 1, which is a date or a time"
    ):
        tables.train(flights, "arr_delay", missing="fill", drop="tailnum", **options)
    model, *_ = tables.train(flights, "arr_delay", missing="fill", drop=["tailnum", "time_hour"], **options)
    assert model.evaluate(flights)["R2"] > 0.9
    assert np.isfinite(model.predict(flights)).all()


# In Python


def test_a_model_comes_back_and_predicts_raw_rows(tmp_path):
    frame = {"ward": ["01", "ICU"] * 20, "age": [30, 80] * 20, "kind": [True, False] * 20, "stays": [1, 2] * 20}
    model, history, measured = tables.train(frame, "stays", epochs=3, hidden=4, callbacks=[CountEpochs()])
    assert len(history) == CountEpochs.epochs == 3
    assert set(measured) == {"training", "validation"}
    assert model.notes["epochs"] == 3
    model.save(tmp_path / "model")
    back = tables.load(tmp_path / "model")
    new = {"age": [28.5, 77], "ward": ["ICU", "01"], "more": [None, None], "kind": [True, False]}
    assert back.predict(new).tolist() == model.predict(new).tolist()
    assert set(model.predict(frame)) <= {1, 2}
    assert model.predict(frame).dtype.kind == "i"
    assert repr(model).startswith("Model of stays: '1', '2'\n  from ward: '01', 'ICU'\n  from age: 5")
    # Its encoded rows go on training.
    trainer = fastnn.Trainer(back.network, loss=back.loss, optimizer=fastnn.Adam(0.03))
    trainer.fit(*back.encode(frame), epochs=3)
    assert back.evaluate(frame)["loss"] < model.evaluate(frame)["loss"]


class CountEpochs(Callback):
    epochs = 0

    def on_epoch_end(self, trainer, metrics):
        CountEpochs.epochs += 1


def test_classes_come_back_in_their_type():
    frame = {"x": [*range(20)], "truth": [True, False] * 10, "text": ["a", "b"] * 10}
    for target, kind in (("truth", "b"), ("text", "O")):
        model, *_ = tables.train(frame, target, **FAST)
        assert model.predict(frame).dtype.kind == kind


def test_decimals_and_categoricals_of_arrow():
    import decimal

    price = pa.array([decimal.Decimal(k) / 4 for k in range(40)], pa.decimal128(10, 2))
    table = pa.table(
        {"price": price, "grade": pa.array([k % 30 for k in range(40)]).dictionary_encode(), "t": ["x", "y"] * 20}
    )
    model, *_ = tables.train(table, "t", **FAST)
    assert isinstance(model.inputs[0], Number)
    assert model.inputs[1].width == 30
    numbers, *_ = tables.train(table, "price", **FAST)
    assert isinstance(numbers.target, Number)


def test_columns_can_be_said_to_be_categories():
    rows = [("zip", "x", "t"), *((10000 + k % 15, k, "xy"[k % 2]) for k in range(60))]
    table = parse(write(rows), "t")
    assert isinstance(tables.train(table, "t", **FAST).model.inputs[0], Number)
    assert tables.train(table, "t", category="zip", **FAST).model.inputs[0].width == 15
    dear = [("zip", "x", "t"), *((f"${k % 15}", k, "xy"[k % 2]) for k in range(60))]
    assert tables.train(parse(write(dear), "t"), "t", category=["zip"], **FAST).model.inputs[0].width == 15


def test_the_task_may_be_said():
    frame = {"x": [*range(40)], "y": [0, 1] * 20, "z": [True, False] * 20}
    for task, output in (("auto", "softmax"), ("classes", "softmax"), ("numbers", "identity")):
        for target in "yz":
            model, *_ = tables.train(frame, target, task=task, **FAST)
            assert model.network.layers[-1].activation == output


def test_nothing_held_out_all_rows_a_step_and_a_generator():
    frame = {"x": [*range(40)], "y": [0.5, 1] * 20}
    seed = np.random.default_rng(0)
    model, _, measured = tables.train(frame, "y", validation=0, seed=seed, batch_size=None, dtype="float32", **FAST)
    assert list(measured) == ["training"]
    assert (model.notes["batch size"], model.notes["seed"]) == (40, str(seed))
    assert model.predict(frame).dtype == np.float64


def test_constants_are_no_trouble():
    frame = {"one": [7] * 20, "same": ["a"] * 20, "y": [*range(20)]}
    model, _, measured = tables.train(frame, "y", missing="fill", **FAST)
    assert model.inputs[:2] == (Number("one", 7.0, 1.0, 7.0, False), Category("same", ("a",), "a"))
    assert np.isfinite(measured["validation"]["loss"])
    constant, _, measured = tables.train({"x": [*range(20)], "y": [0.5] * 20}, "y", **FAST)
    assert np.isnan(measured["validation"]["R2"])
    assert "validation R2" not in constant.notes


def test_a_wide_table():
    names = [f"c{k}" for k in range(2000)]
    X = np.random.default_rng(0).normal(size=(20, 2000)).round(3)
    rows = [(*names, "t"), *((*row, "xy"[k % 2]) for k, row in enumerate(X.tolist()))]
    model, *_ = tables.train(parse(write(rows), "wide"), "t", **FAST)
    assert model.network.n_inputs == 2000


def test_no_copy_is_warned_of(monkeypatch):
    monkeypatch.setattr("fastnn._support.validate.LARGE", 0)
    frame = {"x": [*range(40)], "y": [0.5, 1] * 20}
    for dtype in ("float64", "float32"):
        model, *_ = tables.train(frame, "y", dtype=dtype, **FAST)
        model.evaluate(frame)


def test_numbers_that_cannot_be_standardised_are_named():
    frame = {"x": [1e-30 * k for k in range(40)], "y": [0.5, 1] * 20}
    model, *_ = tables.train(frame, "y", dtype="float32", **FAST)
    with pytest.raises(
        TableError, match="column 'x' has '100000000000000000000' in row 2, which is too large to be standardised"
    ):
        model.predict({"x": [0, 1e20]})


FRAME = {"a": [1.0, 2.0] * 10, "b": ["x", "y"] * 10, "Unnamed: 0": [*range(20)]}


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("B", {}, "target must be one of 'a', 'b', 'Unnamed: 0', got 'B'; did you mean 'b'?"),
        ("b", {"drop": "z"}, "drop must be one of 'a', 'b', 'Unnamed: 0', got 'z'"),
        ("b", {"category": "z"}, "category must be one of"),
        ("b", {"drop": ["b"]}, "the table needs the target 'b' and at least one more column, after drop"),
        ("b", {"drop": ["a", "Unnamed: 0"]}, "the table needs the target 'b' and at least one more column"),
        ("b", {"drop": ["a"], "category": ["a"]}, "column 'a' is no input that could be a category"),
        ("b", {"category": ["b"]}, "column 'b' is no input that could be a category; for the target, there is task"),
        (
            "b",
            {},
            "a column of the table has no name, as row numbers have: leave it out with drop='Unnamed: 0', or give",
        ),
        ("b", {"task": "guess"}, "task must be one of"),
        ("b", {"missing": "keep"}, "missing must be one of"),
        ("b", {"validation": 0.6}, "validation must be a finite number >= 0 and <= 0.5"),
        ("b", {"seed": -1}, "seed must be an integer >= 0"),
        ("b", {"drop": "Unnamed: 0", "activation": "softmax"}, "softmax"),
        ("b", {"drop": "Unnamed: 0", "dtype": "int8"}, "dtype must be float64 or float32"),
        ("b", {"drop": "Unnamed: 0", "hidden": [0]}, "n_units must be an integer >= 1, got 0"),
    ],
)
def test_what_cannot_be_done(target, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tables.train(FRAME, target, **options)


def test_names_that_others_have_for_arguments():
    for name in ("lr", "learning_rate"):
        with pytest.raises(
            TypeError, match=rf"^train\(\) takes no argument '{name}': .*optimizer=fastnn.Adam\(0.01\)$"
        ):
            tables.train(FRAME, "b", **{name: 0.01})
    with pytest.raises(TypeError, match=r"^read\(\) takes no argument 'sep'; did you mean 'separator'\?$"):
        tables.read("data.csv", sep=";")
    with pytest.raises(TypeError, match=r"^train\(\) needs target$"):
        tables.train(FRAME)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"x": [], "y": []}, "the table has no rows"),
        ({"x": [1, 2], "y": [None, None]}, "the target 'y' has no values"),
        ({"x": [1, 2], "y": ["a", "a"]}, "every row of 'y' is 'a': there is nothing to learn"),
        (
            {"x": [1, 2, 3], "y": ["a", "a", "b"]},
            "class 'b' of 'y' has one row, and needs two at least; if the target is",
        ),
        (
            {"x": [1], "y": [0.5]},
            "the table has 1 rows that can be used, too few to hold a share of 0.2 out; validation=0",
        ),
        ({"x": [1, None], "y": [0.5, None]}, "the table has 0 rows that can be used"),
    ],
)
def test_tables_that_are_too_small(frame, message):
    frame = {name: pa.array(values, None if any(values) else pa.float64()) for name, values in frame.items()}
    if "0 rows" in message:
        frame["x"] = pa.array([None, 1])
    with pytest.raises(TableError) as caught:
        tables.train(frame, "y", missing="drop", **FAST)
    assert message in str(caught.value)


def test_files_and_frames_give_the_same_model(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "wards.csv"
    path.write_bytes(write(make_wards()))
    frame = pandas.read_csv(path, dtype={"ward": str, "class": str})
    models = [tables.train(table, "class", **FAST).model for table in (frame, tables.read(path))]
    assert models[0].inputs == models[1].inputs
    np.testing.assert_array_equal(*(model.predict_proba(frame) for model in models))
    np.testing.assert_array_equal(models[0].predict_proba(frame), models[0].predict_proba(tables.read(Path(path))))
