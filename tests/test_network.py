import copy
import pickle

import naive
import numpy as np
import pytest
from conftest import BODIES, HEADS

import fastnn
from fastnn.kernels.activations import Activation
from fastnn.model.initializers import INITIALIZERS


@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_forward_is_naive(make_case, head):
    for body in BODIES:
        for dtype in ("float64", "float32"):
            case = make_case(head, body, dtype)
            z, a = naive.forward(case.network.weights, case.activations, case.x)
            ours = case.network.forward(case.x)
            # A dozen roundings a level, on numbers of order 1 to 10.
            tolerance = {"rtol": 50 * np.finfo(dtype).eps, "atol": 50 * np.finfo(dtype).eps}
            for mine, theirs in zip([*ours.pre_activations, *ours.activations], [*z, *a], strict=True):
                assert mine.dtype == dtype
                np.testing.assert_allclose(mine, theirs, **tolerance)
            np.testing.assert_array_equal(case.network.predict(case.x), ours.activations[-1])


def test_a_sample_alone_and_in_blocks(monkeypatch):
    network = fastnn.mlp(6, 9, 5, output="softmax", seed=0)
    x = np.random.default_rng(0).normal(size=(11, 6))
    whole = network.predict(x)
    # Rows of a product's last, partial tile may be contracted in another way: a rounding a term.
    tolerance = 50 * np.finfo(float).eps
    np.testing.assert_allclose(np.vstack([network.predict(x[n : n + 1]) for n in range(11)]), whole, rtol=tolerance)
    monkeypatch.setattr("fastnn._engine.workspace.BUDGET", 8 * 3 * 20 * 4)
    np.testing.assert_allclose(network.predict(x), whole, rtol=tolerance)


def test_outputs_saturate_without_overflow():
    for name in ("sigmoid", "tanh", "softplus", "silu", "softmax", "relu", "leaky_relu", "identity"):
        network = fastnn.mlp(1, 2, output=name)
        network.weights = [[[1.0, -1.0]], [0.0, 0.0]]
        expected = {
            "sigmoid": [1, 0],
            "tanh": [1, -1],
            "softplus": [1000, 0],
            "silu": [1000, 0],
            "softmax": [1, 0],
            "relu": [1000, 0],
            "leaky_relu": [1000, -10],
            "identity": [1000, -1000],
        }[name]
        np.testing.assert_array_equal(network.predict([[1000.0]]), [expected])


def test_weights_are_views_and_can_be_set():
    network = fastnn.mlp(2, 3, 1, seed=0)
    assert [w.shape for w in network.weights] == [(2, 3), (3,), (3, 1), (1,)]
    network.weights[1][:] = 7.0
    assert network.weights[1].tolist() == [7.0, 7.0, 7.0]
    other = fastnn.mlp(2, 3, 1, seed=1)
    other.weights = network.weights
    for mine, theirs in zip(other.weights, network.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    network.weights[0][:] = 0.0
    assert other.weights[0].any()
    # A network's own views may be permuted into it.
    square = fastnn.mlp(2, 2, 2, seed=0)
    w1, b1, w2, b2 = (w.copy() for w in square.weights)
    views = square.weights
    square.weights = [views[2], views[3], views[0], views[1]]
    for mine, theirs in zip(square.weights, [w2, b2, w1, b1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_refused_assignment_changes_nothing():
    network = fastnn.mlp(2, 3, 1, seed=0)
    before = [w.copy() for w in network.weights]
    with pytest.raises(ValueError, match=r"weights\[2\] must have shape \(3, 1\), got \(1, 3\)"):
        network.weights = [np.zeros((2, 3)), np.zeros(3), np.zeros((1, 3)), np.zeros(1)]
    with pytest.raises(ValueError, match=r"list of 4 arrays \[W1, b1, ...\], got 2"):
        network.weights = before[:2]
    with pytest.raises(ValueError, match=r"weights\[1\] has NaN or infinity, first at index \(1,\)"):
        network.weights = [before[0], [0.0, np.nan, 0.0], before[2], before[3]]
    for now, then in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("hidden", "variance"),
    [("sigmoid", 1), ("tanh", 1), ("identity", 1), ("relu", 2), ("softplus", 2), ("leaky_relu", 2 / (1 + 0.01**2))],
)
def test_initial_weights(hidden, variance):
    # The standard deviation of a sample variance over n Gaussians is sqrt(2 / n) of it: four of them.
    n_in, n_out = 300, 400
    network = fastnn.mlp(n_in, n_out, 1, hidden=hidden, seed=0)
    w, b = network.weights[:2]
    assert not b.any()
    assert w.var() * n_in == pytest.approx(variance, rel=4 * np.sqrt(2 / w.size))
    plain = fastnn.mlp(n_in, n_out, 1, hidden=hidden, seed=0, init="standard_normal").weights[0]
    assert plain.var() == pytest.approx(1, rel=4 * np.sqrt(2 / w.size))
    assert abs(plain.mean()) <= 4 / np.sqrt(w.size)


@pytest.mark.parametrize("init", INITIALIZERS)
@pytest.mark.parametrize("layer", [fastnn.Dense(400, "tanh"), fastnn.Conv2D(30, (3, 4), "relu"), fastnn.LSTM(50)])
def test_initial_weights_by_name(init, layer):
    shape = {fastnn.Dense: 300, fastnn.Conv2D: (9, 9, 20), fastnn.LSTM: (5, 60)}[type(layer)]
    w = fastnn.Network(shape, [layer, fastnn.Dense(1, "identity")], seed=0, init=init).weights[0]
    n_in, n_out = {fastnn.Dense: (300, 400), fastnn.Conv2D: (240, 360), fastnn.LSTM: (60, 200)}[type(layer)]
    slope = 0 if isinstance(layer, fastnn.Conv2D) else 1
    variance = {
        "fan_in": 2 / ((1 + slope**2) * n_in),
        "standard_normal": 1,
        "glorot_normal": 2 / (n_in + n_out),
        "glorot_uniform": 2 / (n_in + n_out),
        "he_normal": 2 / n_in,
        "he_uniform": 2 / n_in,
        "uniform": 1 / (3 * n_in),
        "orthogonal": 1 / max(w.size // w.shape[-1], w.shape[-1]),
    }[init]
    # As above; the squares of numbers of an interval vary less.
    assert w.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / w.size))
    assert abs(w.mean()) <= 4 * np.sqrt(variance / w.size)
    if init.endswith("uniform"):  # of so many the largest is within a hundredth of the end
        assert 0.99 * np.sqrt(3 * variance) <= np.abs(w).max() <= np.sqrt(3 * variance) * (1 + 4 * np.finfo(float).eps)
    if init == "orthogonal":
        rows = w.reshape(-1, w.shape[-1])
        product = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
        # Sums of a few hundred products, each right to a rounding, of columns that a QR makes so.
        np.testing.assert_allclose(product, np.eye(len(product)), atol=500 * np.finfo(float).eps)


def test_initial_weights_of_ones_own():
    network = fastnn.mlp(3, 2, 1, init=lambda rng, shape: np.full(shape, shape[0]), dtype="float32")
    assert [w.tolist() for w in network.weights] == [[[3.0] * 2] * 3, [0.0] * 2, [[2.0]] * 2, [0.0]]
    drawn = fastnn.mlp(3, 2, seed=5, init=lambda rng, shape: rng.standard_normal(shape))
    np.testing.assert_array_equal(drawn.weights[0], fastnn.mlp(3, 2, seed=5, init="standard_normal").weights[0])


def test_an_activation_for_each_layer():
    network = fastnn.mlp(4, 3, 2, 1, hidden=["relu", "tanh"])
    assert [layer.activation for layer in network.layers] == ["relu", "tanh", "identity"]


def test_same_seed_same_bits():
    for dtype in ("float64", "float32"):
        one, two, three = (fastnn.mlp(5, 4, 3, seed=seed, dtype=dtype) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one.weights[0], two.weights[0])
        assert (one.weights[0] != three.weights[0]).all()
    drawn = fastnn.mlp(5, 4, seed=np.random.default_rng(3)).weights[0]
    np.testing.assert_array_equal(drawn, fastnn.mlp(5, 4, seed=3).weights[0])
    assert (fastnn.mlp(5, 4).weights[0] != fastnn.mlp(5, 4).weights[0]).all()


def test_repr_names_layers_shapes_and_counts():
    network = fastnn.mlp(784, 100, 10, hidden="sigmoid", output="softmax", dtype="float32")
    assert repr(network).splitlines() == [
        "Network: 784 inputs, 79,510 parameters, float32",
        "  Dense(100, sigmoid)  W (784, 100)  b (100,)  78,500",
        "  Dense(10, softmax)   W (100, 10)   b (10,)    1,010",
    ]
    assert network.n_inputs == 784
    assert network.n_parameters == 79_510
    assert network.layers == (fastnn.Dense(100, "sigmoid"), fastnn.Dense(10, "softmax"))


def test_networks_copy_and_pickle():
    network = fastnn.mlp(3, 4, 2, seed=0)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(twin.predict(np.ones((1, 3))), network.predict(np.ones((1, 3))))
        twin.weights[0][:] = 0.0
        assert network.weights[0].all()


def test_every_activation_has_a_naive_twin():
    assert {member.name.lower() for member in Activation} == set(naive.ACTIVATIONS)


def test_one_of_the_weights_is_assigned():
    """What is assigned to an entry of `weights` is the network's, or nothing is."""
    network = fastnn.mlp(2, 3, 1, seed=0)
    before = [w.copy() for w in network.weights]
    network.weights[0] = np.zeros((2, 3))
    network.weights[-1] = [5]
    assert not network.weights[0].any()
    assert network.weights[3][0] == 5.0
    network.weights[::2] = [before[0], np.ones((3, 1))]
    np.testing.assert_array_equal(network.weights[0], before[0])
    np.testing.assert_array_equal(network.weights[2], np.ones((3, 1)))
    whole = [w.copy() for w in network.weights]
    with pytest.raises(ValueError, match=r"weights\[0\] must have shape \(2, 3\), got \(3, 2\)"):
        network.weights[0] = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"weights\[2\] must have shape"):
        network.weights[::2] = [np.zeros((2, 3)), np.zeros(3)]
    with pytest.raises(ValueError, match="these are 2 of a network's weights, got 1 arrays"):
        network.weights[:2] = [np.zeros((2, 3))]
    with pytest.raises(IndexError):
        network.weights[4] = [0]
    for now, then in zip(network.weights, whole, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_list_of_weights_is_not_changed():
    """What would change the list, and nothing in the network, is refused; copies are as good as the list."""
    network = fastnn.mlp(2, 3, 1, seed=0)
    for change in (
        lambda w: w.append(3),
        lambda w: w.extend([3]),
        lambda w: w.insert(0, 3),
        lambda w: w.pop(),
        lambda w: w.remove(w[0]),
        lambda w: w.clear(),
        lambda w: w.reverse(),
        lambda w: w.sort(key=np.sum),
        lambda w: w.__delitem__(0),
        lambda w: w.__iadd__([3]),
        lambda w: w.__imul__(2),
    ):
        with pytest.raises(TypeError, match=r"network.weights\[0\] = array one; list\(network.weights\) is"):
            change(network.weights)
    here = network.weights
    for copied in (copy.copy(here), copy.deepcopy(here), pickle.loads(pickle.dumps(here)), here.copy(), [*here]):
        for ours, theirs in zip(here, copied, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert copy.copy(here)[0] is here[0]
    assert not np.shares_memory(copy.deepcopy(here)[0], here[0])


def test_initial_weights_are_no_copies_to_warn_of(monkeypatch, recwarn):
    """A large network of float32 takes what is drawn in float64 as it is."""
    monkeypatch.setattr("fastnn._support.validate.LARGE", 0)
    fastnn.mlp(3, 2, seed=0, dtype="float32")
    assert not recwarn.list
