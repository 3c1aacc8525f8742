"""Models: a network and its columns as one file, which is checked."""

from pathlib import Path

import numpy as np
import pytest
from test_saving import forge

import fastnn

pytest.importorskip("pyarrow")
from fastnn import tables
from fastnn.tables._columns import Category, Number
from fastnn.tables._model import Model

GOLDEN = Path(__file__).parent / "golden"


def make_model(target=None, dtype="float64"):
    """Return a model of one number and one category with two values."""
    target = target or Category("kind", ("cat", "dog"))
    output = "softmax" if isinstance(target, Category) else "identity"
    network = fastnn.mlp(3, 2, target.width, hidden="tanh", output=output, seed=0, dtype=dtype)
    inputs = (Number("size", 2.5, 0.5), Category("colour", ("blue", "red")))
    return Model(network, inputs, target, {"rows": 4, "gradient": "Backprop()", "training loss": 0.25})


@pytest.fixture
def frame():
    """Return a table."""
    return {"size": [2, 3, 2, 4], "colour": ["red", "blue", "blue", "red"], "kind": ["cat", "dog", "cat", "cat"]}


ENCODED = [[-1, 0, 1], [1, 1, 0], [-1, 1, 0], [3, 0, 1]]


def test_classes(frame):
    model = make_model()
    X, y = model.encode(frame)
    np.testing.assert_array_equal(X, ENCODED)
    np.testing.assert_array_equal(y, [0, 1, 0, 0])
    predicted, probabilities = model.predict(frame), model.predict_proba(frame)
    np.testing.assert_array_equal(probabilities, model.network.predict(ENCODED))
    assert predicted.tolist() == [model.classes[k] for k in probabilities.argmax(axis=1)]
    measured = model.evaluate(frame)
    assert measured["accuracy"] == np.mean(predicted == frame["kind"])
    assert measured["loss"] == pytest.approx(-np.log(probabilities[np.arange(4), y]).mean())


def test_numbers(frame):
    model = make_model(Number("weight", 10.0, 4.0))
    frame["weight"] = [3.0, 5.0, 9.0, 30.0]
    predicted = model.predict(frame)
    np.testing.assert_allclose(predicted, 10 + 4 * model.network.predict(ENCODED)[:, 0])
    errors = predicted - frame["weight"]
    measured = model.evaluate(frame)
    assert measured["RMSE"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert measured["R2"] == pytest.approx(1 - np.mean(errors**2) / np.var([3.0, 5.0, 9.0, 30.0]))
    assert np.isnan(model.evaluate({name: values[:1] for name, values in frame.items()})["R2"])
    with pytest.raises(ValueError, match="the model predicts numbers, 'weight', which have no probabilities"):
        model.predict_proba(frame)
    with pytest.raises(ValueError, match="which have no classes"):
        model.classes  # noqa: B018


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("target", [None, Number("weight", 0.1, 1 / 3)])
def test_a_model_comes_back_bit_for_bit(tmp_path, target, dtype):
    model = make_model(target, dtype)
    model.save(tmp_path / "model")
    back = tables.load(tmp_path / "model")
    assert (back.inputs, back.target, back.notes) == (model.inputs, model.target, model.notes)
    assert (back.missing, back.na, back.decimal) == (model.missing, model.na, model.decimal)
    assert repr(back) == repr(model)
    assert back.network._theta.tobytes() == model.network._theta.tobytes()
    assert fastnn.load(tmp_path / "model")._theta.tobytes() == model.network._theta.tobytes()


def test_a_model_that_shows_itself_does_not_drive_the_terminal():
    network = fastnn.mlp(2, 2, output="softmax", seed=0)
    inputs = (Number("\x1b[31msize", 2.5, 0.5), Number("a\nb", 0.0, 1.0))
    shown = repr(tables.Model(network, inputs, Category("\u202ekind", ("\x07cat", "dog")), {}))
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.startswith("Model of \\u202ekind: '\\x07cat', 'dog'\n  from \\x1b[31msize: 2.5")
    assert "\n  from a\\nb: 0 " in shown


def test_a_file_of_format_version_1_stays_readable():
    """And predicts what it did."""
    model = tables.load(GOLDEN / "model-1.safetensors")
    assert model.inputs == (Number("size", 2.5, 0.5), Category("colour", ("blue", "red")))
    assert model.target == Category("kind", ("cat", "dog"))
    assert model.notes == {"rows": 4, "gradient": "Backprop()", "training loss": 0.25}
    flat = np.concatenate([w.ravel() for w in model.network.weights])
    np.testing.assert_array_equal(flat, np.arange(14) / 8)
    new = {"size": [2, 3, 2.25, 4], "colour": ["red", "blue", "blue", "red"]}
    assert model.predict(new).tolist() == ["dog"] * 4
    expected = [0.41556323579565607, 0.4181974092787064, 0.41971961399885915, 0.4133118288361093]
    # Beside 1, twenty roundings in the network, at most.
    np.testing.assert_allclose(model.predict_proba(new)[:, 0], expected, rtol=20 * np.finfo(float).eps)
    assert (model.missing, model.na, model.decimal) == ("refuse", None, ".")


@pytest.mark.parametrize(("written", "number"), [("2", 2), ("True", 1), ("FALSE", 0)])
def test_numbers_of_files_of_before_may_be_true_or_false(written, number):
    pa = pytest.importorskip("pyarrow")
    model = tables.load(GOLDEN / "model-1.safetensors")
    text = tables.Table({"size": pa.array([written]), "colour": pa.array(["red"])}, is_text=True)
    as_number = {"size": [number], "colour": ["red"]}
    np.testing.assert_array_equal(model.predict_proba(text), model.predict_proba(as_number))


def test_a_file_with_all_that_a_model_can_say_stays_readable():
    model = tables.load(GOLDEN / "model-1-filled.safetensors")
    assert model.inputs == (
        Number("size", 2.5, 0.5, 2.5, truths=False),
        Category("colour", ("01", "1"), "01"),
        Number("old", 0.5, 0.5, 0.5, truths=True),
    )
    assert model.target == Category("kind", ("0", "1"), None, "integer")
    assert (model.missing, model.na, model.decimal) == ("fill", ("?", "keine"), ",")
    new = {"size": [None, 2.5], "colour": ["?", "01"], "old": ["true", "Keine"]}
    X = [[0, 1, 0, 1], [0, 1, 0, 0]]
    np.testing.assert_array_equal(model.predict_proba(new), model.network.predict(X))
    assert model.predict(new).tolist() == [1, 1]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = make_model()
    model.network.weights[0][:] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "fill"}, "its columns do not go with missing='fill'"),
        ({"missing": "keep"}, "its columns do not go with missing='keep'"),
        ({"na": ("?", 3)}, "its text cannot be read, with na="),
        ({"decimal": "'"}, "its text cannot be read, with na=None and decimal"),
    ],
)
def test_parts_of_a_model_fit_together(options, message):
    model = make_model()
    with pytest.raises(ValueError, match=message):
        Model(model.network, model.inputs, model.target, model.notes, **options)


NETWORK = {"n_inputs": 3, "layers": [[2, "softmax"]], "dtype": "float64"}
TENSORS = {"layers.0.weight": np.ones((3, 2)), "layers.0.bias": np.ones(2)}
GOOD = {
    "network": NETWORK,
    "inputs": [{"name": "a", "mean": 0.0, "scale": 1.0}, {"name": "b", "values": ["x", "y"]}],
    "target": {"name": "c", "values": ["p", "q"]},
    "notes": {},
}


def test_the_forger_can_write_a_good_file(tmp_path):
    forge(tmp_path / "model", GOOD, TENSORS, kind="model")
    assert tables.load(tmp_path / "model").target.values == ("p", "q")


IMAGES = {"input_shape": [1, 3, 1], "layers": [["Dense", {"n_units": 2, "activation": "softmax"}]], "dtype": "float64"}
FORGERIES = [
    ({}, "does not hold a network: 'layers'"),
    ({**GOOD, "network": IMAGES}, "a table's model knows dense networks only"),
    ({**GOOD, "network": {**NETWORK, "n_inputs": 10**12}}, "so many weights take more memory than there is"),
    ({"network": NETWORK}, "does not hold a model: 'inputs'"),
    ({**GOOD, "inputs": 3}, "does not hold a model"),
    ({**GOOD, "inputs": ["values"]}, "does not hold a model"),
    ({**GOOD, "inputs": [3]}, "does not hold a model"),
    ({**GOOD, "inputs": []}, "its columns make 0 inputs, and its network takes 3"),
    ({**GOOD, "inputs": GOOD["inputs"][:1]}, "its columns make 1 inputs, and its network takes 3"),
    ({**GOOD, "inputs": [*GOOD["inputs"], {"name": "a"}]}, "does not hold a model"),
    ({**GOOD, "inputs": [GOOD["inputs"][0], {"name": "a", "values": ["x", "y"]}]}, "column 'a' comes twice"),
    ({**GOOD, "inputs": [{"name": "a", "mean": 0.0, "scale": 1.0, "encode": "x"}]}, "does not hold a model"),
    ({**GOOD, "inputs": [{"name": ["a"], "mean": 0.0, "scale": 1.0}]}, "the name of a column must be text"),
    ({**GOOD, "inputs": [{"name": "a", "mean": float("nan"), "scale": 1.0}]}, "cannot be standardised"),
    ({**GOOD, "inputs": [{"name": "a", "values": [["x"]]}]}, "must be texts"),
    ({**GOOD, "inputs": [GOOD["inputs"][0], {"name": "b", "values": "xy"}]}, "what must be a list of texts is none"),
    ({**GOOD, "na": "NA"}, "what must be a list of texts is none"),
    ({**GOOD, "notes": {"rows": 10**400}}, "does not hold a model: int too large to convert to float"),
    ({**GOOD, "target": {"name": "c", "values": ["p"]}}, "its output layer is .* does not go with target 'c'"),
    ({**GOOD, "target": {"name": "c", "mean": 0.0, "scale": 1.0}}, "does not go with target 'c'"),
    ({**GOOD, "target": {"name": "a", "values": ["p", "q"]}}, "column 'a' comes twice"),
    ({**GOOD, "notes": {"rows": [1]}}, "note 'rows' is neither text nor a finite number"),
    ({**GOOD, "notes": {"rows": float("inf")}}, "note 'rows' is neither text nor a finite number"),
    ({**GOOD, "notes": 3}, "does not hold a model"),
    ({**GOOD, "missing": "fill"}, "its columns do not go with missing='fill'"),
    ({**GOOD, "missing": ["fill"]}, "its columns do not go with missing="),
    ({**GOOD, "na": 3}, "does not hold a model"),
    ({**GOOD, "na": [3]}, "its text cannot be read"),
    ({**GOOD, "decimal": []}, "its text cannot be read"),
    ({**GOOD, "target": {"name": "c", "values": ["p", "q"], "type": "integer"}}, "does not hold a model"),
    ({**GOOD, "inputs": [{"name": "a", "mean": 0.0, "scale": 1.0, "truths": 1}, GOOD["inputs"][1]]}, "truths 1"),
]


@pytest.mark.parametrize(("description", "message"), FORGERIES)
def test_a_forged_file_is_refused(tmp_path, description, message):
    forge(tmp_path / "model", description, TENSORS, kind="model")
    with pytest.raises(ValueError, match=message) as caught:
        tables.load(tmp_path / "model")
    assert str(tmp_path / "model") in str(caught.value)


@pytest.mark.parametrize("network", [None, 3, [], "x", {}])
def test_a_model_without_a_network_is_no_network(tmp_path, network):
    forge(tmp_path / "model", {"network": network}, TENSORS, kind="model")
    for load in (fastnn.load, tables.load):
        with pytest.raises(ValueError, match="does not hold a network"):
            load(tmp_path / "model")


def test_other_kinds_are_refused(tmp_path):
    fastnn.mlp(1, 1, seed=0).save(tmp_path / "network")
    with pytest.raises(ValueError, match="holds a network, not a model"):
        tables.load(tmp_path / "network")
