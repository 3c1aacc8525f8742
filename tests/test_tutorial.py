"""The drop-in functions: the tutorial's numbers, and whatever its readers pass."""

import naive
import numpy as np
import pytest

from fastnn import feed_forward, update_weights
from fastnn._cli import demo
from fastnn.training.gradients import TOLERANCE

X = [[1], [3], [4], [8], [10]]
Y = [[3], [9], [12], [24], [30]]
START = [[[2.269]], [[1.01]]]
HIDDEN = [[0.8, 0.4, 0.3], [0.2, 0.9, 0.5]]
OUTPUT = [[0.3], [0.5], [0.9]]


def layers(seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in [(2, 3), (3,), (3, 2), (2,)]]


def samples(seed=1, n=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.normal(size=(n, 2))


def test_worked_training():
    weights = np.array(START)
    new = update_weights(np.array(X), np.array(Y), weights, 1000)
    assert new.shape == (2, 1, 1)
    assert new[0].item() == pytest.approx(2.9993365176819, abs=1e-10)
    assert new[1].item() == pytest.approx(0.0044551669243, abs=1e-10)
    np.testing.assert_array_equal(weights, START)


def test_the_demonstrations_numpy_loop_agrees():
    theirs = demo.numpy_update_weights(np.array(X), np.array(Y), np.array(START), 1000)
    np.testing.assert_allclose(update_weights(X, Y, np.array(START), 1000), theirs, atol=1e-10)


def test_worked_forward_pass():
    errors = feed_forward([[1, 1]], [[0]], [HIDDEN, 0, OUTPUT, 0])
    assert errors.shape == (1, 1)
    assert errors.item() == pytest.approx(1.5208121, abs=5e-8)
    assert np.sqrt(errors).item() == pytest.approx(1.2332121, abs=5e-8)
    assert feed_forward([1, 1], [0], [HIDDEN, 0, OUTPUT, 0]) == errors


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu", "identity"])
@pytest.mark.parametrize("each", ["weight", "array"])
def test_five_epochs_are_naive(hidden, each):
    x, y = samples()
    weights = layers()
    names = [hidden, "identity"]
    expected = [w.astype(np.longdouble) for w in weights]
    for _ in range(5):
        expected = naive.train_step(
            expected, names, "squared_error", x.astype(np.longdouble), y.astype(np.longdouble), each=each
        )
    new = update_weights(x, y, weights, 5, each=each, hidden=hidden)
    for ours, theirs in zip(new, expected, strict=True):
        # Five steps of lr = 0.01 along differences of size 10 at most.
        np.testing.assert_allclose(ours, theirs.astype(float), rtol=1e-12, atol=5 * 0.01 * 10 * TOLERANCE)
    errors = feed_forward(x, y, weights, hidden=hidden)
    np.testing.assert_allclose(errors, np.square(naive.forward(weights, names, x)[1][-1] - y), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_chunks", [1, 2, 3])
def test_whole_arrays_by_any_number_of_chunks(chunks, n_chunks):
    x, y = samples()
    serial = update_weights(x, y, layers(), 3, each="array")
    chunks(n_chunks)
    for one, two in zip(update_weights(x, y, layers(), 3, each="array"), serial, strict=True):
        np.testing.assert_array_equal(one, two)


def test_array_and_weight_agree_where_arrays_hold_one_number():
    one, two = (update_weights(X, Y, np.array(START), 50, each=each) for each in ("weight", "array"))
    np.testing.assert_allclose(one, two, rtol=1e-14)


def test_a_scalar_bias_is_one_weight_that_serves_all_units():
    x, y = samples()
    w1, _, w2, b2 = layers()
    shared = np.float64(0.3)
    new = update_weights(x, y, [w1, shared, w2, b2], 1, lr=1.0)
    assert np.shape(new[1]) == ()
    full = [w1, np.full(3, shared), w2, b2]
    slope = naive.differences(full, ["sigmoid", "identity"], "squared_error", x, y, each="array")[0][1][0]
    assert new[1] == pytest.approx(shared - slope, abs=1e-9)
    # The rest moves as if it were not shared.
    for k in (0, 2, 3):
        # By series there, directly here: they agree to the tolerance of what a series leaves out.
        np.testing.assert_allclose(new[k], update_weights(x, y, full, 1, lr=1.0)[k], atol=10 * TOLERANCE)


def test_containers_shapes_and_dtypes_come_back():
    x, y = samples()
    w1, b1, w2, b2 = layers()
    plain = update_weights(x, y, [w1, b1, w2, b2], 3)
    variants = {
        "fortran": [np.asfortranarray(w1), b1, np.asfortranarray(w2), b2],
        "row biases": [w1, b1.reshape(1, -1), w2, b2.reshape(1, -1)],
        "tuple": (w1, b1, w2, b2),
        "lists": [w.tolist() for w in (w1, b1, w2, b2)],
        "read-only": [np.broadcast_to(w, w.shape) for w in (w1, b1, w2, b2)],
        "strided": [np.repeat(w, 2, axis=0)[::2] for w in (w1, b1, w2, b2)],
    }
    for name, variant in variants.items():
        copies = [np.array(w) for w in variant]
        new = update_weights(x, y, variant, 3)
        assert type(new) is type(variant), name
        for ours, theirs, given, copy in zip(new, plain, variant, copies, strict=True):
            assert type(ours) is type(given), name
            assert np.shape(ours) == np.shape(given), name
            np.testing.assert_array_equal(np.ravel(ours), np.ravel(theirs))
            np.testing.assert_array_equal(given, copy)
    objects = np.empty(4, object)
    objects[:] = [w1, b1, w2, b2]
    new = update_weights(x, y, objects, 3)
    assert new.dtype == object
    np.testing.assert_array_equal(new[2], plain[2])


def test_dtypes():
    x, y = samples()
    single = update_weights(x, y, layers(dtype=np.float32), 3)
    assert all(w.dtype == np.float32 for w in single)
    new = update_weights(np.array(X), np.array(Y), np.array([[[2]], [[1]]]), 3)
    assert new.dtype == np.float64
    new = update_weights(np.array(X, np.float32), np.array(Y, np.int8), np.array(START, np.float32), 3)
    assert new.dtype == np.float32
    new = update_weights(X, Y, [np.array([[2]]), np.array([1])], 3)
    assert [w.dtype for w in new] == [np.float64, np.float64]


def test_plain_numbers():
    new = update_weights([1, 2, 3], [2, 4, 6], [2000, 0], 1)
    assert [type(w) for w in new] == [float, float]
    # J = mean (w x + b - y)^2: D_w = mean 2 (w x - y) x + eps x^2, D_b = mean 2 (w x - y) + eps.
    assert new[0] == pytest.approx(2000 - 0.01 * (2 * 1998 * 14 / 3 + 1e-4 * 14 / 3), rel=1e-13)
    assert new[1] == pytest.approx(-0.01 * (2 * 1998 * 2 + 1e-4), rel=1e-13)
    assert [type(w) for w in update_weights([1], [2], [np.float32(2), np.int64(0)], 1)] == [np.float32, np.float64]


@pytest.mark.parametrize("weights", [np.array(START), START, [2.269, 1.01], [np.array([[2]]), 0]])
def test_no_epochs_return_the_weights_as_they_are(weights):
    new = update_weights(X, Y, weights, 0)
    for now, then in zip(new, weights, strict=True):
        np.testing.assert_array_equal(now, then)
    assert new is not weights


def test_mini_batches():
    x, y = samples(n=7)
    one, two, three = (update_weights(x, y, layers(), 4, batch_size=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one[0], two[0])
    assert (one[0] != three[0]).all()
    np.testing.assert_array_equal(
        update_weights(x, y, layers(), 4, batch_size=100)[0], update_weights(x, y, layers(), 4)[0]
    )


def test_vectors_are_columns_for_one_input_and_a_row_for_one_sample():
    np.testing.assert_array_equal(feed_forward([1, 3], [3, 9], START), feed_forward(X[:2], Y[:2], START))
    assert feed_forward(2, 6, START).shape == (1, 1)
    weights = layers()
    np.testing.assert_array_equal(feed_forward([1, 2], [3, 4], weights), feed_forward([[1, 2]], [[3, 4]], weights))


def test_large_inputs_are_taken_in_blocks(monkeypatch):
    x, y = samples(n=50)
    whole = feed_forward(x, y, layers())
    monkeypatch.setattr("fastnn._engine.workspace.BUDGET", 1)
    # Rows of a product's last, partial tile may be contracted in another way: a rounding a term.
    np.testing.assert_allclose(feed_forward(x, y, layers()), whole, atol=50 * np.finfo(float).eps * whole.max())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weights": 3}, TypeError, r"weights must be a list \[W1, b1, W2, b2, ...\], got 3"),
        ({"weights": "abcd"}, TypeError, "weights must be a list"),
        ({"weights": []}, TypeError, "weights must be a list"),
        ({"weights": layers()[:3]}, ValueError, r"a bias after each W \(0 for none\), got 3"),
        ({"weights": [np.zeros(2), 0]}, ValueError, r"weights\[0\] must have shape \(n_in, n_out\), got \(2,\)"),
        ({"weights": [np.zeros((2, 3)), np.zeros((3, 1))]}, ValueError, r"the bias of 3 units, .*got \(3, 1\)"),
        (
            {"weights": [np.zeros((2, 3)), 0, np.zeros((4, 2)), 0]},
            ValueError,
            r"weights\[2\] has 4 rows, but the layer before it has 3 units",
        ),
        ({"weights": [[[np.nan]], 0]}, ValueError, r"weights\[0\] has NaN or infinity"),
        ({"inputs": [[1.0]]}, ValueError, r"inputs must have shape \(n_samples, 2\), as W1 has 2 rows, got \(1, 1\)"),
        ({"inputs": [1.0, 2.0, 3.0]}, ValueError, r"inputs must have shape \(n_samples, 2\)"),
        ({"inputs": [["a", "b"]]}, TypeError, "inputs must be real numbers"),
        (
            {"outputs": np.zeros((6, 1))},
            ValueError,
            r"outputs must have shape \(6, 2\), one row a sample, got \(6, 1\)",
        ),
        ({"outputs": np.zeros((5, 2))}, ValueError, r"outputs must have shape \(6, 2\)"),
        ({"epochs": -1}, ValueError, "epochs must be an integer >= 0, got -1"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"lr": -1.0}, ValueError, "lr must be a finite number >= 0, got -1.0"),
        ({"eps": 0.0}, ValueError, "eps must be a finite number > 0, got 0.0"),
        ({"each": "row"}, ValueError, "each must be one of 'weight', 'array', got 'row'"),
        ({"hidden": "softmax"}, ValueError, "hidden must be one of"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0"),
    ],
)
def test_bad_input(change, error, message):
    x, y = samples()
    arguments = {"inputs": x, "outputs": y, "weights": layers(), "epochs": 1}
    with pytest.raises(error, match=message):
        update_weights(**arguments | change)


def test_the_learning_rate_may_come_fifth():
    """As the source's own recipes call it."""
    x, y = samples()
    for one, two in zip(update_weights(x, y, layers(), 3, 0.5), update_weights(x, y, layers(), 3, lr=0.5), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_loop_of_the_version_for_pytorch_is_told_of():
    """Its readers pass the learning rate fourth, and unpack two results."""
    x, y = samples()
    with pytest.raises(TypeError) as caught:
        _, _ = update_weights(x, y, layers(), 0.5)
    assert "epochs must be an integer, got 0.5; the learning rate comes after it" in str(caught.value)
    assert "update_weights(inputs, outputs, weights, 1, lr / n_outputs)" in str(caught.value)
    with pytest.raises(TypeError, match="epochs must be an integer, got 2.0$"):
        update_weights(x, y, layers(), 2.0)


@pytest.mark.parametrize("eps", [1e-4, 1e-2])
def test_the_version_for_pytorch_as_it_advises(eps):
    """One step a call, along the differences of a loss that is averaged over the outputs, too."""
    x, y = samples()
    weights, lr, n_outputs = layers(), 0.5, y.shape[1]
    expected = [w.astype(np.longdouble) for w in weights]
    for _ in range(3):
        loss = feed_forward(x, y, weights).mean()
        weights = update_weights(x, y, weights, 1, lr / n_outputs, eps=eps)
        names, wide = ["sigmoid", "identity"], [a.astype(np.longdouble) for a in (x, y)]
        their_loss = naive.losses(expected, names, "squared_error", *wide).mean() / n_outputs
        differences = naive.differences(expected, names, "squared_error", *wide, eps=eps)[0]
        expected = naive.sgd(expected, [d / n_outputs for d in differences], lr)
        # 3 steps of 0.5 along differences of size 5 at most, and what a series leaves out of these; 17 weights of such
        # an error move the loss by that times its slopes, of the same size.
        atol = 3 * 0.5 * 5 * TOLERANCE
        assert loss == pytest.approx(float(their_loss), abs=17 * 5 * atol)
        for ours, theirs in zip(weights, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.astype(float), rtol=1e-12, atol=atol)


def test_divergence():
    with pytest.raises(FloatingPointError, match="not finite at epoch .* with lr=10; try a smaller lr"):
        update_weights(X, Y, START, 1000, lr=10.0)
