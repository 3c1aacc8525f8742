"""Models: a network and its columns as one file, which is checked."""

from pathlib import Path

import numpy as np
import pytest
from test_saving import forge

import fastnn
from fastnn._columns import Category, Number
from fastnn._model import Model

GOLDEN = Path(__file__).parent / "golden" / "model-1.safetensors"


def make_model(target=None, dtype="float64"):
    """Return a model of one number and one category with two values."""
    target = target or Category("kind", ("cat", "dog"))
    output = "softmax" if isinstance(target, Category) else "identity"
    network = fastnn.mlp(3, 2, target.width, hidden="tanh", output=output, seed=0, dtype=dtype)
    inputs = (Number("size", 2.5, 0.5), Category("colour", ("blue", "red")))
    return Model(network, inputs, target, {"rows": 4, "gradient": "Backprop()", "training loss": 0.25})


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(
        {"size": [2, 3, 2, 4], "colour": ["red", "blue", "blue", "red"], "kind": ["cat", "dog", "cat", "cat"]}
    )


ENCODED = [[-1, 0, 1], [1, 1, 0], [-1, 1, 0], [3, 0, 1]]


def test_classes(frame):
    model = make_model()
    X, y = model.encode(frame)
    np.testing.assert_array_equal(X, ENCODED)
    np.testing.assert_array_equal(y, [0, 1, 0, 0])
    predicted, probabilities = model.predict(frame)
    np.testing.assert_array_equal(probabilities, model.network.predict(ENCODED))
    assert predicted.tolist() == [("cat", "dog")[k] for k in probabilities.argmax(axis=1)]
    measured = model.measure(*model.encode(frame))
    assert measured["accuracy"] == np.mean(predicted == frame["kind"])
    assert measured["loss"] == pytest.approx(-np.log(probabilities[np.arange(4), y]).mean())


def test_numbers(frame):
    model = make_model(Number("weight", 10.0, 4.0))
    frame["weight"] = [3.0, 5.0, 9.0, 30.0]
    predicted, _ = model.predict(frame)
    np.testing.assert_allclose(predicted, 10 + 4 * model.network.predict(ENCODED)[:, 0])
    errors = predicted - frame["weight"].to_numpy()
    measured = model.measure(*model.encode(frame))
    assert measured["RMSE"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert measured["R2"] == pytest.approx(1 - np.mean(errors**2) / np.var([3.0, 5.0, 9.0, 30.0]))
    assert np.isnan(model.measure(*model.encode(frame[:1]))["R2"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("target", [None, Number("weight", 0.1, 1 / 3)])
def test_a_model_comes_back_bit_for_bit(tmp_path, target, dtype):
    model = make_model(target, dtype)
    model.save(tmp_path / "model")
    back = Model.load(tmp_path / "model")
    assert (back.inputs, back.target, back.notes) == (model.inputs, model.target, model.notes)
    assert back.network._theta.tobytes() == model.network._theta.tobytes()
    assert fastnn.load(tmp_path / "model")._theta.tobytes() == model.network._theta.tobytes()


def test_a_file_of_format_version_1_stays_readable():
    model = Model.load(GOLDEN)
    assert model.inputs == (Number("size", 2.5, 0.5), Category("colour", ("blue", "red")))
    assert model.target == Category("kind", ("cat", "dog"))
    assert model.notes == {"rows": 4, "gradient": "Backprop()", "training loss": 0.25}
    flat = np.concatenate([w.ravel() for w in model.network.weights])
    np.testing.assert_array_equal(flat, np.arange(14) / 8)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = make_model()
    model.network.weights[0][:] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


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
    assert Model.load(tmp_path / "model").target.values == ("p", "q")


FORGERIES = [
    ({}, "does not hold a network: 'layers'"),
    ({**GOOD, "network": {**NETWORK, "n_inputs": 10**12}}, "its arrays are not those"),
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
    ({**GOOD, "target": {"name": "c", "values": ["p"]}}, "its output layer is .* does not go with target 'c'"),
    ({**GOOD, "target": {"name": "c", "mean": 0.0, "scale": 1.0}}, "does not go with target 'c'"),
    ({**GOOD, "target": {"name": "a", "values": ["p", "q"]}}, "column 'a' comes twice"),
    ({**GOOD, "notes": {"rows": [1]}}, "note 'rows' is neither text nor a finite number"),
    ({**GOOD, "notes": {"rows": float("inf")}}, "note 'rows' is neither text nor a finite number"),
    ({**GOOD, "notes": 3}, "does not hold a model"),
]


@pytest.mark.parametrize(("description", "message"), FORGERIES)
def test_a_forged_file_is_refused(tmp_path, description, message):
    forge(tmp_path / "model", description, TENSORS, kind="model")
    with pytest.raises(ValueError, match=message) as caught:
        Model.load(tmp_path / "model")
    assert str(tmp_path / "model") in str(caught.value)


@pytest.mark.parametrize("network", [None, 3, [], "x", {}])
def test_a_model_without_a_network_is_no_network(tmp_path, network):
    forge(tmp_path / "model", {"network": network}, TENSORS, kind="model")
    for load in (fastnn.load, Model.load):
        with pytest.raises(ValueError, match="does not hold a network"):
            load(tmp_path / "model")


def test_other_kinds_are_refused(tmp_path):
    fastnn.mlp(1, 1, seed=0).save(tmp_path / "network")
    with pytest.raises(ValueError, match="holds a network, not a model"):
        Model.load(tmp_path / "network")
