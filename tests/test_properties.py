"""What must hold for any network and any samples."""

import naive
import numpy as np
from conftest import HEADS, Case
from hypothesis import given
from hypothesis import strategies as st

import fastnn

BODIES = st.sampled_from([("sigmoid", 1), ("tanh", 2), ("relu", 2), ("softplus", 3), ("leaky_relu", 1)])
SEEDS = st.integers(0, 2**32 - 1)
METHODS = st.sampled_from([fastnn.Perturbation(), fastnn.Perturbation(1e-3, "central"), fastnn.Backprop()])
ROUNDING = 1000 * np.finfo(float).eps


def size(gradients):
    return max(1.0, *(float(np.abs(g).max()) for g in gradients))


@given(SEEDS, st.sampled_from(HEADS), BODIES, METHODS)
def test_zero_inputs_have_zero_gradient(seed, head, body, method):
    case = Case(head, body, seed=seed)
    case.x[:, 1] = 0.0
    assert not case.gradient(method)[0][1].any()


@given(SEEDS, st.sampled_from(HEADS), BODIES, METHODS)
def test_weights_come_out_as_they_went_in(seed, head, body, method):
    case = Case(head, body, seed=seed)
    before = case.network._theta.tobytes()
    case.gradient(method)
    assert case.network._theta.tobytes() == before


@given(SEEDS, st.sampled_from(HEADS), BODIES, METHODS)
def test_the_order_of_samples_does_not_matter(seed, head, body, method):
    case = Case(head, body, seed=seed)
    one = case.gradient(method)
    order = np.random.default_rng(seed).permutation(len(case.x))
    case.x, case.y = case.x[order], case.y[order]
    for a, b in zip(case.gradient(method), one, strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING * size(one))


@given(SEEDS, st.sampled_from(HEADS), BODIES, METHODS)
def test_the_order_of_hidden_units_does_not_matter(seed, head, body, method):
    case = Case(head, body, seed=seed)
    one = case.gradient(method)
    order = np.random.default_rng(seed).permutation(4)
    w1, b1, w2, *rest = case.network.weights
    case.network.weights = [w1[:, order], b1[order], w2[order], *rest]
    two = case.gradient(method)
    expected = [one[0][:, order], one[1][order], one[2][order], *one[3:]]
    for a, b in zip(two, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING * size(one))


@given(SEEDS, st.sampled_from(HEADS), BODIES, METHODS)
def test_samples_twice_give_the_same_mean(seed, head, body, method):
    case = Case(head, body, seed=seed)
    one = case.gradient(method)
    case.x, case.y = np.repeat(case.x, 2, axis=0), np.repeat(case.y, 2, axis=0)
    for a, b in zip(case.gradient(method), one, strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING * size(one))


@given(SEEDS, st.integers(0, 3), st.sampled_from([1e-6, 1e-3, 0.5, 8.0]))
def test_central_differences_of_a_quadratic_are_exact(seed, depth, eps):
    """With identity activations the squared error is quadratic in each single weight, at any eps."""
    case = Case(("squared_error", "identity"), ("identity", depth), seed=seed)
    exact = case.gradient(fastnn.Backprop())
    measured = case.gradient(fastnn.Perturbation(eps, "central"))
    # The two sides differ from the slope by eps times a curvature, which cancels to rounding.
    curvature = case.gradient(fastnn.Perturbation(eps))
    for a, b in zip(measured, exact, strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING * (size(exact) + size(curvature)))


@given(SEEDS, BODIES)
def test_truncation_falls_with_eps(seed, body):
    """Forward differences are off by order eps, central ones by eps**2: ten and a hundred times less at eps / 10."""
    if "relu" in body[0]:
        body = ("tanh", 2)
    case = Case(("squared_error", "identity"), body, seed=seed)
    exact = case.gradient(fastnn.Backprop())

    def error(method):
        return max(float(np.abs(a - b).max()) for a, b in zip(case.gradient(method), exact, strict=True))

    for scheme, factor in (("forward", 10), ("central", 100)):
        coarse, fine = (error(fastnn.Perturbation(eps, scheme)) for eps in (1e-2, 1e-3))
        assert 0.8 * factor < coarse / fine < 1.25 * factor


@given(SEEDS)
def test_relu_networks_scale_with_their_inputs(seed):
    network = fastnn.mlp(3, 5, 4, 2, hidden="relu", seed=seed)  # biases zero
    x = np.random.default_rng(seed).normal(size=(4, 3))
    np.testing.assert_array_equal(network.predict(4.0 * x), 4.0 * network.predict(x))


@given(SEEDS, st.integers(1, 6), st.integers(1, 70), st.integers(1, 4), st.integers(1, 9))
def test_any_shape(seed, n_inputs, n_hidden, n_outputs, n_samples):
    """Levels narrower and wider than a block of nudges, batches that are no multiple of a tile."""
    network = fastnn.mlp(n_inputs, n_hidden, n_outputs, hidden="tanh", seed=seed)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n_samples, n_inputs)), rng.normal(size=(n_samples, n_outputs))
    exact = fastnn.gradient(network, x, y, method=fastnn.Backprop())
    measured = fastnn.gradient(network, x, y, method=fastnn.Perturbation(1e-5, "central"))
    for a, b in zip(measured, exact, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9 * size(exact))
    a = naive.forward(network.weights, ["tanh", "identity"], x)[1][-1]
    np.testing.assert_allclose(network.predict(x), a, atol=ROUNDING * max(1.0, np.abs(a).max()))
