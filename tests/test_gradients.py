"""Gradients against the naive loop in extended precision, and against each other."""

import naive
import numba
import numpy as np
import pytest
from conftest import BODIES, HEADS

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine.workspace import make_work
from fastnn.kernels.work import WIDE
from fastnn.training.gradients import TOLERANCE, TOLERANCE32

# Roundings on the way from a weight to the loss: at most 3 hidden levels of at most
# 4 units, a dozen operations in each change of an activation, two dozen in a loss.
ROUNDINGS = 100
# In plain Python, one of them takes minutes enough.
DTYPES = ("float64",) if JIT_DISABLED else ("float64", "float32")


def bound(case, sizes, eps, dtype="float64"):
    """Return the largest error allowed: the kernel's rounding in the network's dtype, and the truth's own."""
    size = max(float(s.max()) for s in sizes)
    own = ROUNDINGS * np.finfo(dtype).eps * size
    reference = ROUNDINGS * float(np.finfo(np.longdouble).eps) * (1 + case.mean_loss()) / eps
    return own + reference


def largest_difference(ours, theirs):
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.grid
@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body[1]}x{body[0]}")
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_perturbation_is_the_naive_difference(make_case, head, body):
    for dtype in DTYPES:
        case = make_case(head, body, dtype)
        for scheme, eps in (("forward", 1e-4), ("central", 1e-4), ("forward", 1.0)):
            expected, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = bound(case, sizes, eps, dtype)
            measured = case.gradient(fastnn.Perturbation(eps, scheme, "direct"))
            assert all(g.dtype == dtype for g in measured)
            assert largest_difference(measured, expected) <= allowed
            # The tolerance is relative to a mean over the samples of largest entries,
            # which is at most n_samples times the largest mean.
            tolerance = TOLERANCE if dtype == "float64" else TOLERANCE32
            allowed += tolerance * len(case.x) * max(float(s.max()) for s in sizes)
            assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme)), expected) <= allowed


@pytest.mark.grid
@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body[1]}x{body[0]}")
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_backprop_is_the_limit_of_central_differences(make_case, head, body):
    # At eps = 1e-6 the central difference is off by eps**2 / 6 times a third
    # derivative, of order 1 for these weights, and by rounding in the nineteenth digit.
    for dtype, tolerance in (("float64", 1e-11), ("float32", ROUNDINGS * np.finfo("float32").eps)):
        case = make_case(head, body, dtype)
        expected, sizes = case.truth(eps=1e-6, scheme="central")
        error = largest_difference(case.gradient(fastnn.Backprop()), expected)
        assert error <= tolerance * max(1.0, *(float(s.max()) for s in sizes))


def test_backprop_by_hand():
    # One input, one sigmoid unit, squared error: z = 2 * 0.5 - 1 = 0, a = 1/2, slope 1/4,
    # dJ/dz = 2 (1/2 - 1) / 4 = -1/4, dJ/dW = x dJ/dz = -1/2.
    network = fastnn.mlp(1, 1, output="sigmoid")
    network.weights = [[[0.5]], [-1.0]]
    dW, db = fastnn.gradient(network, [[2.0]], [1.0], method=fastnn.Backprop())
    assert dW.item() == -0.5
    assert db.item() == -0.25


def test_forward_difference_by_hand():
    # J = (2 w + b - 7)^2 at w = 3, b = 0: J(w + eps) = (2 eps - 1)^2, so D = -4 + 4 eps;
    # along b, (eps - 1)^2, so -2 + eps.
    network = fastnn.mlp(1, 1)
    network.weights = [[[3.0]], [0.0]]
    dW, db = fastnn.gradient(network, [[2.0]], [7.0], method=fastnn.Perturbation(0.25))
    assert dW.item() == -3.0
    assert db.item() == -1.75


def test_absolute_errors_by_hand():
    # J = |2 w + b - y| at w = 3, b = 1. At y = 7 the error is at the kink: up by 2 eps and eps on either side of it, so
    # that a central difference is 0, as is the slope that is taken there. At y = 8 it is -1, and eps = 1 takes it to 1
    # along w, to 0 along b.
    network = fastnn.mlp(1, 1)
    network.weights = [[[3.0]], [1.0]]
    for y, method, expected in (
        (7.0, fastnn.Perturbation(0.25), [2.0, 1.0]),
        (7.0, fastnn.Perturbation(0.25, "central"), [0.0, 0.0]),
        (7.0, fastnn.Backprop(), [0.0, 0.0]),
        (8.0, fastnn.Perturbation(1.0), [0.0, -1.0]),
        (8.0, fastnn.Perturbation(0.25), [-2.0, -1.0]),
        (8.0, fastnn.Backprop(), [-2.0, -1.0]),
        (6.0, fastnn.Perturbation(1.0), [2.0, 1.0]),
    ):
        gradient = fastnn.gradient(network, [[2.0]], [y], loss="absolute_error", method=method)
        assert [g.item() for g in gradient] == expected


def test_cross_entropies_by_hand():
    # Two equal logits, the first class right: p - y = (-1/2, 1/2). A logit of 0, target 1: -1/2.
    network = fastnn.mlp(1, 2, output="softmax")
    network.weights = [[[0.0, 0.0]], [0.0, 0.0]]
    dW, _ = fastnn.gradient(network, [[3.0]], [0], loss="categorical_cross_entropy", method=fastnn.Backprop())
    assert dW.tolist() == [[-1.5, 1.5]]
    network = fastnn.mlp(1, 1, output="sigmoid")
    network.weights = [[[0.0]], [0.0]]
    dW, _ = fastnn.gradient(network, [[3.0]], [1], loss="binary_cross_entropy", method=fastnn.Backprop())
    assert dW.tolist() == [[-1.5]]


@pytest.mark.parametrize(
    "method",
    [
        fastnn.Perturbation(1e-4),
        fastnn.Perturbation(1e-4, scheme="central"),
        fastnn.Perturbation(1e-4, evaluate="direct"),
        fastnn.Perturbation(0.1),
        fastnn.Backprop(),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", [(7, 70, 5, 3), (WIDE + 3, 9, 3)])
def test_same_bits_for_any_number_of_chunks(chunks, method, dtype, sizes):
    network = fastnn.mlp(*sizes, hidden="tanh", seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, sizes[0])), rng.normal(size=(9, 3))
    before = [w.copy() for w in network.weights]
    chunks(1)
    serial = fastnn.gradient(network, x, y, method=method)
    for n_chunks in (2, 3):
        chunks(n_chunks)
        for ours, theirs in zip(fastnn.gradient(network, x, y, method=method), serial, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for now, then in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.grid
@pytest.mark.parametrize("n_chunks", [1, 2])
@pytest.mark.parametrize("sizes", [(4, 70, 20, 12), (4, 9, 70, 20, 3)])
@pytest.mark.parametrize("head", [("squared_error", "sigmoid"), ("categorical_cross_entropy", "softmax")])
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_deep_networks_wider_than_what_is_carried_together(chunks, n_chunks, sizes, head, scheme):
    """More than `PERTURBATIONS` units below, more than `STRIP` above."""
    chunks(n_chunks)
    loss, output = head
    rng = np.random.default_rng(0)
    network = fastnn.mlp(*sizes, hidden="tanh", output=output, seed=0)
    x = rng.normal(size=(9, sizes[0]))
    y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], 9)]
    activations = [layer.activation for layer in network.layers]
    wide = [w.astype(np.longdouble) for w in network.weights], activations, loss, x.astype(np.longdouble), y
    truth, sizes = naive.differences(*wide, scheme=scheme)
    size = max(float(s.max()) for s in sizes)
    # The bound of deep networks is far above what is left out; sums are of up to 70.
    allowed = (ROUNDINGS + 3 * 70) * np.finfo(float).eps * size
    ours = fastnn.gradient(network, x, y, loss=loss, method=fastnn.Perturbation(1e-4, scheme=scheme))
    assert largest_difference(ours, truth) <= allowed + TOLERANCE * len(x) * size


@pytest.mark.parametrize("n_chunks", [1, 2, 3])
@pytest.mark.parametrize("method", [fastnn.Perturbation(1e-4), fastnn.Perturbation(1e-4, evaluate="direct")])
def test_many_inputs_are_taken_in_parts(chunks, n_chunks, method):
    """More than `WIDE` inputs, and samples that are no whole number of the product's rows."""
    chunks(n_chunks)
    rng = np.random.default_rng(0)
    network = fastnn.mlp(WIDE + 5, 2, 1, seed=0)
    x, y = rng.normal(size=(11, WIDE + 5)), rng.normal(size=(11, 1))
    wide = [w.astype(np.longdouble) for w in network.weights], ["sigmoid", "identity"], "squared_error"
    truth, sizes = naive.differences(*wide, x.astype(np.longdouble), y.astype(np.longdouble))
    size = max(float(s.max()) for s in sizes)
    # A sum of so many products goes before the `ROUNDINGS`.
    allowed = (ROUNDINGS + WIDE) * np.finfo(float).eps * size + TOLERANCE * len(x) * size
    assert largest_difference(fastnn.gradient(network, x, y, method=method), truth) <= allowed


def test_training_in_blocks_is_training(monkeypatch, make_case):
    """Also plain SGD, which adds a batch of one block straight to the weights."""
    results = []
    for budget in (2**20, 4 * 8 * 50):
        monkeypatch.setattr("fastnn._engine.workspace.BUDGET", budget)
        case = make_case(HEADS[0], ("tanh", 1), n_samples=11)
        fastnn.Trainer(case.network, batch_size=None, shuffle=False).fit(case.x, case.y, epochs=5)
        results.append(np.concatenate([w.ravel() for w in case.network.weights]))
    # Five steps of lr = 0.01, each gradient off by the tolerance at most.
    np.testing.assert_allclose(*results, rtol=0, atol=5 * 0.01 * 11 * TOLERANCE)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="plain Python takes chunks in turn, and BLAS's bits vary")
def test_series_and_direct_kernel_share_a_layer_without_a_race(chunks):
    """Nudges so large that many units reach their kinks, in a run that would amplify a lost addition."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 12)), rng.normal(size=(40, 2))
    results = []
    for n_chunks in (1, 2, 3, 2):
        chunks(n_chunks)
        network = fastnn.mlp(12, 50, 20, 2, hidden="relu", seed=1)
        fastnn.Trainer(network, gradient=fastnn.Perturbation(0.01), optimizer=fastnn.Adam()).fit(x, y, epochs=30)
        results.append(np.concatenate([w.ravel() for w in network.weights]))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_threads_share_large_work():
    from fastnn.kernels.work import Method
    from fastnn.training.gradients import count_chunks

    small, large = fastnn.mlp(3, 4, 2)._layout, fastnn.mlp(784, 100, 10)._layout
    for method in Method:
        assert count_chunks(small, method, 4) == 1
        assert count_chunks(large, method, 4096) == numba.get_num_threads()


def test_blocks_of_samples_add_up(monkeypatch, make_case):
    """A batch too large for the workspace is taken in blocks."""
    case = make_case(HEADS[0], ("tanh", 2), n_samples=11)
    for method in (fastnn.Perturbation(1e-4), fastnn.Perturbation(1e-4, evaluate="direct"), fastnn.Backprop()):
        whole = case.gradient(method)
        with monkeypatch.context() as patch:
            patch.setattr("fastnn._engine.workspace.BUDGET", 4 * 8 * 50)
            blocked = case.gradient(method)
            work = make_work(case.network._layout, 11, method.method, case.network.dtype, 1)
        assert work.measured.shape[1] < 11
        scale = max(float(np.abs(g).max()) for g in whole)
        # The same terms added in another order: one rounding a sample. Which samples
        # keep their series depends on the others in the block.
        allowed = 11 * scale * (np.finfo(float).eps + (TOLERANCE if method == fastnn.Perturbation(1e-4) else 0.0))
        assert largest_difference(blocked, whole) <= allowed


@pytest.mark.parametrize(
    ("hidden", "kink"), [("relu", 0.0), ("leaky_relu", 0.0), *(("hard_sigmoid", z) for z in (-3, 3))]
)
def test_kinks_are_exact(hidden, kink):
    """Pre-activations at a kink and within reach of the nudge, in the first layer and in later ones."""
    eps = 1e-3
    for offset in (0.0, eps / 2, -eps / 2, eps, -eps, 2 * eps):
        network = fastnn.mlp(2, 3, 3, 2, hidden=hidden, seed=3)
        rng = np.random.default_rng(4)
        x, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
        for layer in range(2):  # put the first sample's z of every unit at the offset
            z = network.forward(x).pre_activations[layer]
            network.weights[2 * layer + 1][:] += kink + offset - z[0]
        for scheme in ("forward", "central"):
            weights = [w.astype(np.longdouble) for w in network.weights]
            layers = [layer.activation for layer in network.layers]
            truth, sizes = naive.differences(
                weights, layers, "squared_error", x.astype(np.longdouble), y.astype(np.longdouble), eps, scheme
            )
            measured = fastnn.gradient(network, x, y, method=fastnn.Perturbation(eps, scheme))
            # z itself carries rounding, and crossing the kink turns that into a change of
            # the same absolute size, over eps.
            allowed = ROUNDINGS * np.finfo(float).eps * (1 / eps + max(float(s.max()) for s in sizes))
            assert largest_difference(measured, truth) <= allowed


@pytest.mark.torch
def test_backprop_is_pytorchs():
    import torch

    for hidden, module in (("sigmoid", torch.nn.Sigmoid), ("tanh", torch.nn.Tanh), ("relu", torch.nn.ReLU)):
        network = fastnn.mlp(6, 8, 5, 4, hidden=hidden, output="softmax", seed=2)
        rng = np.random.default_rng(3)
        x, labels = rng.normal(size=(16, 6)), rng.integers(0, 4, 16)
        layers = []
        for k, (w, b) in enumerate(zip(network.weights[::2], network.weights[1::2], strict=True)):
            linear = torch.nn.Linear(*w.shape, dtype=torch.float64)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T.copy()))
                linear.bias.copy_(torch.from_numpy(b.copy()))
            layers += [linear, module()] if k < 2 else [linear]
        model = torch.nn.Sequential(*layers)
        torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        theirs = [p.grad.numpy().T for p in model.parameters()]
        ours = fastnn.gradient(network, x, labels, loss="categorical_cross_entropy", method=fastnn.Backprop())
        assert largest_difference(ours, theirs) <= ROUNDINGS * np.finfo(float).eps


@pytest.mark.parametrize("loss", ["squared_error", "categorical_cross_entropy"])
def test_a_softmax_that_is_moved_far(make_case, loss):
    """Past what exponents hold, whichever class is raised."""
    case = make_case((loss, "softmax"), ("tanh", 1))
    for eps in (100.0, 1e3):
        truth, sizes = case.truth(eps=eps, scheme="central")
        measured = case.gradient(fastnn.Perturbation(eps, "central", "direct"))
        assert largest_difference(measured, truth) <= bound(case, sizes, eps)


@pytest.mark.parametrize("method", [fastnn.Perturbation(), fastnn.Backprop()], ids=repr)
def test_a_loss_that_overflows(method):
    network = fastnn.mlp(1, 1, seed=0)
    network.weights = [[[1e200]], [0.0]]
    evaluation = fastnn.Trainer(network).evaluate([[1.0]], [0.0])
    assert evaluation.loss == np.inf
    with pytest.raises(FloatingPointError, match="the loss is not finite: weights are too large"):
        fastnn.gradient(network, [[1.0]], [0.0], method=method)
