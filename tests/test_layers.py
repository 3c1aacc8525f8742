"""Layers over images and sequences: held against the naive code in extended precision, and what is said of them."""

import copy
import dataclasses
import pickle
import threading
from pathlib import Path

import naive
import numba
import numpy as np
import pytest
from conftest import ELEMENTWISE, HEADS, OPTIMIZERS

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import loop, program
from fastnn._engine.plan import count_stem, find_plan
from fastnn._engine.threads import count_chunks
from fastnn._engine.workspace import make_data, make_work
from fastnn.kernels import activations, optimizers
from fastnn.kernels.layers import FUNCTIONS, MODULES, Kind
from fastnn.kernels.layers.maps import SHORT
from fastnn.kernels.losses import Loss
from fastnn.kernels.stem import run_stem_direct
from fastnn.kernels.training import End
from fastnn.kernels.work import Block, Method
from fastnn.model.layers import LAYERS

# Roundings on the way from a weight to the loss, of numbers of the size of what is measured: three levels of sums of up
# to 36 products, a dozen in each change of an activation, two dozen in a loss.
ROUNDINGS = 200
# Steps in float32 take as long to compile as those in float64; that is done beside the benchmarks.
DTYPES = ["float64", pytest.param("float32", marks=pytest.mark.exhaustive)]
Conv, Max, Average, Dense = fastnn.Conv2D, fastnn.MaxPool2D, fastnn.AveragePool2D, fastnn.Dense
Flatten, Repeat, Embedding = fastnn.Flatten, fastnn.Repeat, fastnn.Embedding
RNN, GRU, LSTM = fastnn.RNN, fastnn.GRU, fastnn.LSTM
# Strides and paddings, kernels and windows that are not square, that overlap or leave something out, all depths.
STACKS = {
    "conv": ((5, 4, 2), [Conv(2, (3, 2), "tanh")]),
    "strides": ((6, 5, 1), [Conv(2, 2, "relu", strides=(2, 1)), Dense(3, "tanh")]),
    "same": ((5, 4, 2), [Conv(2, (2, 3), "relu", strides=(1, 2), padding="same")]),
    "larger": ((2, 3, 1), [Conv(2, (3, 4), "sigmoid", padding="same")]),
    "max": ((6, 6, 1), [Conv(2, 3, "relu"), Max(2)]),
    "overlapping": ((6, 6, 1), [Conv(2, 2, "leaky_relu", padding="same"), Max((3, 2), (2, 1)), fastnn.Flatten()]),
    "average": ((6, 6, 1), [Conv(2, 3, "relu"), Average(2)]),
    "deep": ((8, 8, 1), [Conv(2, 3, "relu"), Max(2), Conv(3, 2, "relu"), Max(2)]),
    "hard": ((8, 8, 1), [Conv(2, 3, "hard_sigmoid"), Max(2), Conv(3, 2, "hard_sigmoid"), Max(2)]),
    "three": ((7, 7, 1), [Conv(2, 2, "relu"), Max(2), Conv(2, 2, "tanh", padding="same"), Conv(2, 2, "relu")]),
    "pools": (
        (8, 9, 2),
        [Max(2, 1), Conv(2, 2, "relu"), Max((2, 3), (1, 2)), Max(2, 1), Average(2, 1), Conv(2, 1, "elu")],
    ),
    "mixed": ((6, 6, 1), [Average(2, 1), Conv(2, 2, "relu"), Average(2, 1), Max(2, 1), Conv(1, 2, "softplus"), Max(1)]),
    "pulled": (
        (8, 7, 2),
        [
            *(Conv(3, 3, "relu", padding="same"), Max(2), Conv(3, 3, "relu", padding="same")),
            *(Conv(4, 2, "leaky_relu", padding="same"), Average(2, 1), Max(2, 1)),
        ],
    ),
    "none": ((3, 2, 2), [Max((2, 1))]),
    "flat": ((3, 2, 2), [fastnn.Flatten(), Dense(3, "tanh")]),
    # One to many, many to one and many to many, dense layers and none below, between and above.
    "one": ((4, 3), [RNN(2, "tanh"), Dense(2, "softplus")]),
    "every": ((4, 3), [RNN(2, "sigmoid", return_sequences=True)]),
    "from one": (3, [Repeat(3), RNN(2, "relu", return_sequences=True), Dense(2, "tanh")]),
    "translate": ((3, 2), [Dense(2, "tanh"), RNN(3, "tanh"), Repeat(2), RNN(2, "relu", return_sequences=True)]),
    "between": ((3, 2), [RNN(2, "tanh", return_sequences=True), Dense(2, "relu"), RNN(3, "leaky_relu")]),
    "single": ((1, 2), [RNN(2, "tanh", return_sequences=True), RNN(2, "silu", return_sequences=True)]),
    "flattened": ((3, 2), [RNN(2, "elu", return_sequences=True), Flatten()]),
    "steps": ((3, 2), [Dense(2, "tanh")]),
    "lstm": ((3, 2), [LSTM(2, return_sequences=True), Dense(2, "relu"), LSTM(2)]),
    "memory": (2, [Repeat(3), LSTM(2), Repeat(2), LSTM(2, return_sequences=True)]),
    "gru": ((3, 2), [GRU(2, return_sequences=True), Dense(2, "relu"), GRU(2)]),
    "gates": (2, [Repeat(3), GRU(2), Repeat(2), GRU(2, return_sequences=True)]),
    "tokens": (5, [Embedding(4, 2), RNN(2, "tanh", return_sequences=True)]),
    "words": (4, [Embedding(7, 2), Dense(2, "tanh"), Flatten()]),
    "caption": (
        (4, 4, 1),
        [Conv(2, 2, "relu"), Max(2), Flatten(), Dense(2, "tanh"), Repeat(2), RNN(2, "tanh", return_sequences=True)],
    ),
}


def twin(layer):
    """Return a layer as the naive code has it."""
    if isinstance(layer, Conv):
        return naive.Conv2D(layer.activation, layer.strides, layer.padding)
    if isinstance(layer, Max):
        return naive.MaxPool2D(layer.pool_size, layer.strides)
    if isinstance(layer, Average):
        return naive.AveragePool2D(layer.pool_size, layer.strides)
    if isinstance(layer, RNN):
        return naive.RNN(layer.activation, layer.return_sequences)
    if isinstance(layer, GRU):
        return naive.GRU(layer.return_sequences)
    if isinstance(layer, LSTM):
        return naive.LSTM(layer.return_sequences)
    if isinstance(layer, Embedding):
        return naive.Embedding()
    if isinstance(layer, Repeat):
        return naive.Repeat(layer.n_steps)
    return naive.Flatten() if isinstance(layer, Flatten) else layer.activation


class Case:
    """A random network over random images or sequences, and the same numbers for the naive code."""

    def __init__(self, stack, head=("categorical_cross_entropy", "softmax"), dtype="float64", n_samples=3, seed=0):
        shape, layers = STACKS[stack] if isinstance(stack, str) else stack
        self.loss, output = head
        self.network = fastnn.Network(shape, [*layers, Dense(3, output)], seed, dtype)
        self.layers = [twin(layer) for layer in self.network.layers]
        rng = np.random.default_rng([seed, 1])
        for b in self.network.weights:
            if not b.any():
                b[:] = rng.normal(size=b.shape) / 4
        self.x = rng.normal(size=(n_samples, *self.network.input_shape)).astype(dtype)
        self.x[rng.random(self.x.shape) < 0.2] = 0.0
        first = self.network.layers[0]
        if isinstance(first, Embedding):
            self.x = rng.integers(0, first.n_tokens, self.x.shape).astype(dtype)
        outputs = self.network.output_shape
        self.y = rng.normal(size=(n_samples, *outputs)).astype(dtype)
        if self.loss == "binary_cross_entropy":
            self.y = (self.y > 0).astype(dtype)
        elif self.loss == "poisson":
            self.y = np.abs(self.y)
        elif self.loss == "categorical_cross_entropy":
            self.y = naive.one_hot(rng.integers(0, 3, (n_samples, *outputs[:-1])), 3, dtype)

    def truth(self, **options):
        """Return the naive differences, their sizes and the mean loss in extended precision."""
        weights = [w.astype(np.longdouble) for w in self.network.weights]
        samples = self.x.astype(np.longdouble), self.y.astype(np.longdouble)
        return naive.differences(weights, self.layers, self.loss, *samples, **options)

    def gradient(self, method, **options):
        return fastnn.gradient(self.network, self.x, self.y, loss=self.loss, method=method, **options)

    def check(self, methods, eps, scheme="forward", n_exact=0, **options):
        """Hold methods against the truth: to the rounding of the network's dtype, and of the truth's losses.

        The first arrays, so many, have no series, of which "auto" leaves out something.
        """
        truth, sizes = self.truth(eps=eps, scheme=scheme, **options)
        loss = naive.mean(naive.losses(self.network.weights, self.layers, self.loss, self.x, self.y))
        size = max(float(s.max()) for s in sizes)
        allowed = ROUNDINGS * (
            np.finfo(self.x.dtype).eps * size + float(np.finfo(np.longdouble).eps) * (1 + loss) / eps
        )
        for evaluate in methods:
            found = self.gradient(fastnn.Perturbation(eps, scheme, evaluate), **options)
            # What "auto" leaves out of the dense layers' series, see test_gradients.py.
            left = len(self.x) * size * (1e-8 if self.x.dtype == np.float64 else 1e-6) * (evaluate == "auto")
            for k, (ours, theirs) in enumerate(zip(found, truth, strict=True)):
                assert ours.dtype == self.x.dtype
                assert ours.shape == theirs.shape
                assert np.abs(ours - theirs).max() <= allowed + left * (k >= n_exact)


# Of even numbers of cases, so that float32, which is compiled by itself, is late.
@pytest.mark.late(kept=20)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stack", STACKS)
def test_forward_is_naive(stack, dtype):
    case = Case(stack, dtype=dtype)
    z, a = naive.forward(case.network.weights, case.layers, case.x)
    ours = case.network.forward(case.x)
    tolerance = {"rtol": 50 * np.finfo(dtype).eps, "atol": 50 * np.finfo(dtype).eps}
    for mine, theirs in zip([*ours.pre_activations, *ours.activations], [*z, *a], strict=True):
        assert mine.dtype == dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, **tolerance)
    np.testing.assert_array_equal(case.network.predict(case.x), ours.activations[-1])


@pytest.mark.late(kept=20)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack", STACKS)
def test_perturbation_is_the_naive_difference(stack, dtype):
    case = Case(stack, dtype=dtype)
    for eps, scheme in ((1e-4, "forward"), (1e-4, "central"), (1.0, "forward")):
        case.check(("auto", "direct"), eps, scheme)


@pytest.mark.parametrize("activation", ELEMENTWISE)
@pytest.mark.parametrize("pool", [Max(2), Average(2)], ids=str)
def test_every_activation(activation, pool):
    case = Case(((5, 5, 1), [Conv(2, 2, activation), pool, Conv(2, 2, activation)]))
    case.x /= 4 * np.abs(case.x).max()
    for eps in (2 * SHORT, SHORT / 2, 2.0):  # above what a short series is taken for, below it, across kinks
        case.check(("direct",), eps)


@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_every_activation_step_by_step(activation):
    case = Case(((3, 2), [RNN(2, activation, return_sequences=True), Dense(2, activation), RNN(2, activation)]))
    for eps in (SHORT / 2, 2.0):
        case.check(("direct",), eps)


@pytest.mark.parametrize("stack", ["max", "every"])
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_every_loss(head, stack):
    case = Case(stack, head)
    for eps, scheme in ((1e-4, "forward"), (0.5, "central")):
        case.check(("auto", "direct"), eps, scheme)


@pytest.mark.parametrize("stack", ["deep", "every"])
def test_samples_that_count_differently(stack):
    case = Case(stack, n_samples=4)
    case.check(("auto", "direct"), 1e-3, sample_weight=[0.0, 1.0, 3.0, 0.5])


@pytest.mark.late(kept=3)
@pytest.mark.parametrize("stack", ["every", "steps", "translate"])
def test_steps_that_count_differently(stack):
    """Forward and central differences, and back-propagation; whatever stands where a weight is 0."""
    case = Case(stack, n_samples=4)
    weights = np.random.default_rng(0).integers(0, 3, case.y.shape[:2]) / 2
    weights[0] = 0.0
    for scheme, eps in (("forward", 1e-3), ("central", 0.5)):
        case.check(("auto", "direct"), eps, scheme, sample_weight=weights)
    truth, sizes = case.truth(eps=1e-6, scheme="central", sample_weight=weights)
    for _ in range(2):
        for ours, theirs in zip(case.gradient(fastnn.Backprop(), sample_weight=weights), truth, strict=True):
            # See `test_backprop_is_the_limit_of_central_differences`.
            assert np.abs(ours - theirs).max() <= 1e-10 * max(1.0, *(float(s.max()) for s in sizes))
        case.y[weights == 0] = case.y[weights == 0][:, ::-1]


@pytest.mark.parametrize(("stack", "kink"), [("deep", 0), ("hard", -3), ("hard", 3)])
@pytest.mark.parametrize("offset", [0.0, 0.5, -0.5, 1.0, -1.0, 2.0])
def test_kinks_are_exact(offset, stack, kink):
    """A unit of each convolution of the first sample within reach of the perturbation, or just not."""
    eps = 1e-3
    case = Case(stack, ("squared_error", "identity"))
    for k, layer in ((0, 0), (2, 2)):
        z = case.network.forward(case.x).pre_activations[layer][0]
        place = np.unravel_index(z.reshape(-1, z.shape[-1]).argmax(axis=0), z.shape[:2])  # those that are passed on
        case.network.weights[k + 1][:] += kink + offset * eps - z[(*place, np.arange(z.shape[-1]))]
    for scheme in ("forward", "central"):
        truth, sizes = case.truth(eps=eps, scheme=scheme)
        # z itself carries rounding, and crossing the kink turns that into a change of the same absolute size, over eps.
        allowed = ROUNDINGS * np.finfo(float).eps * (1 / eps + max(float(s.max()) for s in sizes))
        for evaluate in ("auto", "direct"):
            left = 1e-8 * len(case.x) * max(float(s.max()) for s in sizes) * (evaluate == "auto")
            for ours, theirs in zip(case.gradient(fastnn.Perturbation(eps, scheme, evaluate)), truth, strict=True):
                assert np.abs(ours - theirs).max() <= allowed + left


@pytest.mark.parametrize("stack", ["max", "overlapping", "deep", "pools"])
def test_ties_are_exact(stack):
    """Flat images, all of whose windows tie, and images of few values."""
    case = Case(stack)
    case.x[0] = 0.5
    case.x[1:] = np.round(case.x[1:])
    for eps in (1e-4, 0.25):
        case.check(("direct",), eps)


@pytest.mark.late(kept=20)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stack", STACKS)
def test_backprop_is_the_limit_of_central_differences(stack, dtype):
    # See test_gradients.py. None of these has a unit, or two that tie, within 1e-6 of a kink.
    tolerance = 1e-10 if dtype == "float64" else ROUNDINGS * np.finfo("float32").eps
    case = Case(stack, dtype=dtype)
    truth, sizes = case.truth(eps=1e-6, scheme="central")
    for ours, theirs in zip(case.gradient(fastnn.Backprop()), truth, strict=True):
        assert np.abs(ours - theirs).max() <= tolerance * max(1.0, *(float(s.max()) for s in sizes))


def test_the_first_of_those_that_tie_gets_the_gradient():
    network = fastnn.Network((1, 2, 1), [Conv(1, 1, "identity"), Max((1, 2)), Dense(1, "identity")])
    network.weights = [np.ones((1, 1, 1, 1)), [0.0], [[1.0]], [0.0]]
    # J = max(w x)**2: of the two inputs that are 3, one is passed on, 2 * 3 * 3.
    dw, *_ = fastnn.gradient(network, [[[3.0, 3.0]]], [0.0], method=fastnn.Backprop())
    assert dw.item() == 18.0


METHODS = [
    fastnn.Perturbation(1e-4),
    fastnn.Perturbation(0.1, "central"),
    fastnn.Perturbation(1e-4, evaluate="direct"),
    fastnn.Backprop(),
]


@pytest.mark.late(kept=11)
@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("stack", ["three", "pools", "pulled", "translate", "gru", "lstm", "tokens"])
def test_same_bits_for_any_number_of_chunks(chunks, method, stack):
    if JIT_DISABLED and stack not in ("pools", "translate", "tokens"):
        pytest.skip("minutes of plain Python")
    results = []
    for n_chunks in (1, 2, 3):
        chunks(n_chunks)
        case = Case(stack, n_samples=11)
        found = case.gradient(method)
        for optimizer in (fastnn.SGD(0.1), fastnn.Adam(0.01)):
            trainer = fastnn.Trainer(case.network, loss=case.loss, gradient=method, optimizer=optimizer, batch_size=8)
            trainer.fit(case.x, case.y, 2)
        results.append(np.concatenate([array.ravel() for array in [*found, *case.network.weights]]))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.late(kept=4)
@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize(("stack", "budget"), [("deep", 15_000), ("pulled", 60_000), ("translate", 6_000)])
def test_blocks_of_samples_add_up(monkeypatch, method, stack, budget):
    case = Case(stack, n_samples=7)
    whole = case.gradient(method)
    monkeypatch.setattr("fastnn._engine.workspace.BUDGET", budget)
    blocked = case.gradient(method)
    work = make_work(case.network._layout, 7, method.method, case.network.dtype, 1)
    assert 1 < work.stem.values.shape[1] < 7
    assert work.measured.shape[1] == work.stem.values.shape[1] * work.stem.n_steps
    # The same terms in another order, and which of the dense layers' samples keep their series depends on the block.
    for ours, theirs in zip(blocked, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=7 * (1e-8 + 1e-14) * np.abs(theirs).max() + 1e-12)


def test_few_perturbations_are_carried_together_where_many_units_move(monkeypatch):
    case = Case("deep")
    whole = case.gradient(METHODS[2])
    monkeypatch.setattr("fastnn._engine.workspace.BUDGET", 1)
    assert make_work(case.network._layout, 3, Method.DIRECT, case.network.dtype, 1).stem.n_together == 4
    for ours, theirs in zip(case.gradient(METHODS[2]), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * np.abs(theirs).max())


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimisers_move_shared_weights_as_they_move_others(optimizer):
    """Two steps against the naive ones, along the same gradients; biases do not decay."""
    case = Case("deep")
    weights = [w.copy() for w in case.network.weights]
    take_step, kernels = naive.OPTIMIZERS[optimizer.code.name.lower()], optimizers.MODULES[optimizer.code]
    rates = [getattr(optimizer, name) for name in kernels.RATES]
    moments = [[np.zeros_like(w) for w in weights] for _ in range(kernels.N_MOMENTS)]
    trainer = fastnn.Trainer(
        case.network, loss=case.loss, gradient=fastnn.Backprop(), optimizer=optimizer, batch_size=None, shuffle=False
    )
    for step in (1, 2):
        gradients = case.gradient(fastnn.Backprop())
        weights, moments = take_step(weights, gradients, moments, step, optimizer.lr, optimizer.weight_decay, *rates)
        trainer.fit(case.x, case.y)
        for ours, theirs in zip(case.network.weights, weights, strict=True):
            # As in test_optimizers.py.
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15)


def test_a_small_network_learns():
    """Which half of a small image is brighter, whatever stands in it."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 6, 6)), rng.integers(0, 2, 60)
    x[y == 1, :3] += 0.5
    layers = [Conv(2, 3, "relu"), Max(2), Dense(2, "softmax")]
    network = fastnn.Network((6, 6, 1), layers, seed=0)
    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", optimizer=fastnn.Adam(0.03))
    history = trainer.fit(x, y, epochs=5 if JIT_DISABLED else 60, validation_data=(x, y))
    assert history.loss[-1] < history.loss[0]
    if not JIT_DISABLED:
        assert trainer.evaluate(x, y).accuracy == 1.0


def test_a_hidden_nan_is_a_loss_that_is_none():
    network = fastnn.Network((2, 2, 1), [Conv(1, 1, "identity"), Max(2), Dense(1, "identity")], seed=0)
    network.weights[0][:] = 1e300
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        fastnn.gradient(network, np.array([[[1e300, -1e300], [0.0, 1.0]]]), [0.0])


@pytest.mark.skipif(not JIT_DISABLED, reason="Python cannot call compiled units")
def test_a_nan_is_the_largest_of_its_window():
    network = fastnn.Network((1, 3, 1), [Max((1, 3)), Dense(1, "identity")], seed=0)
    for place in range(3):
        x = np.zeros((1, 3))
        x[0, place] = np.nan
        for _, work in loop.forward(network._layout, network._theta, x):
            assert np.isnan(work.stem.values[1, 0, -1])


@pytest.mark.skipif(not JIT_DISABLED, reason="Python cannot call compiled units")
def test_a_step_that_nobody_wants_ends():
    case = Case("max")
    layout, theta = case.network._layout, case.network._theta
    method = fastnn.Perturbation()
    task = method.make_task(Loss.SQUARED_ERROR, theta.dtype, 1)
    work = make_work(layout, 3, method.method, theta.dtype, 1)
    work.stop[0] = 1
    data = make_data(case.x.reshape(3, -1), case.y)
    packed = (layout, theta, data, loop.rest(theta), work), work.stem
    loop.take_steps(layout, theta, data, task, loop.rest(theta), work, 3, 0, 1, 0, np.zeros((1, 2)))
    run_stem_direct.function(packed, Block(0, 0, 3, 3, True, True), task, 1, 0)
    assert not work.gradient.any()


def convolve(size):
    """Of 64 channels, some 30 Tflop a step."""
    return (size, size, 1), [Conv(size, 5, "tanh", padding="same"), Conv(size, 5, "tanh")]


def recur(size):
    """Of 256 steps, with 82,000 weights in each layer, some 200 Tflop a step."""
    return (4 * size, size), [RNN(4 * size, "tanh", return_sequences=True), LSTM(size)]


@pytest.mark.skipif(JIT_DISABLED, reason="plain Python is too slow for a long step")
@pytest.mark.parametrize("make", [convolve, recur])
def test_a_long_step_that_nobody_wants_ends(make):
    """Minutes at 100 GFLOP/s, they end when they are told to."""
    for size, end in ((6, (1, End.DONE)), (64, (0, End.STOPPED))):  # compiled by the first
        shape, layers = make(size)
        network = fastnn.Network(shape, [*layers, Dense(2, "identity")], seed=0)
        layout, theta, method = network._layout, network._theta, fastnn.Perturbation(evaluate="direct")
        work = make_work(layout, 32, method.method, theta.dtype, 1)
        task = method.make_task(Loss.SQUARED_ERROR, theta.dtype, 1)
        data = make_data(np.ones((32, network.n_inputs)), np.ones((32, 2)))
        arguments = layout, theta, data, task, loop.rest(theta), work, 32, 0, 1, 0, np.zeros((1, 2))
        ends = []
        thread = threading.Thread(target=lambda to, call: to.append(loop.take_steps(*call)), args=(ends, arguments))
        thread.start()
        if end[1] == End.STOPPED:
            thread.join(1)
            assert thread.is_alive()
            work.stop[0] = 1
        thread.join(600)
        assert ends == [end]


@pytest.mark.late
def test_networks_copy_pickle_and_come_back_from_files(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "network.safetensors"
    for stack in STACKS:
        case = Case(stack, dtype="float32")
        case.network.save(path)
        for other in (fastnn.load(path), copy.deepcopy(case.network), pickle.loads(pickle.dumps(case.network))):
            assert repr(other) == repr(case.network)
            assert other.layers == case.network.layers
            assert other.input_shape == case.network.input_shape
            np.testing.assert_array_equal(other.predict(case.x), case.network.predict(case.x))


def test_a_file_of_images_stays_readable():
    pytest.importorskip("safetensors")
    network = fastnn.load(Path(__file__).parent / "golden" / "images-1.safetensors")
    assert network.input_shape == (5, 4, 2)
    assert network.layers == (
        *(Conv(2, (2, 1), "relu", (1, 2), "same"), Max(2, 1), Average((2, 1)), fastnn.Flatten()),
        *(Dense(2, "tanh"), Dense(3, "softmax")),
    )
    assert network.dtype == np.float32
    np.testing.assert_array_equal(network._theta, np.arange(network.n_parameters, dtype=np.float32) / 8)


@pytest.mark.parametrize("stack", ["deep", "translate", "from one"])
@pytest.mark.parametrize("method", [fastnn.Perturbation(), fastnn.Backprop()], ids=repr)
def test_training_goes_on_bit_for_bit(tmp_path, method, stack):
    pytest.importorskip("safetensors")
    weights = []
    for breaks in (False, True):
        case = Case(stack, n_samples=7)
        trainer = fastnn.Trainer(case.network, loss=case.loss, gradient=method, optimizer=fastnn.Adam(), batch_size=3)
        trainer.fit(case.x, case.y, 1)
        if breaks:
            trainer.save(tmp_path / "run")
            trainer = fastnn.Trainer.resume(tmp_path / "run")
        trainer.fit(case.x, case.y, 1)
        weights.append(trainer.network._theta.tobytes())
    assert weights[0] == weights[1]


def test_repr_and_html_tell_each_level():
    network = fastnn.Network(
        (28, 28, 1),
        [
            *(Conv(8, 5, "relu"), Max(2), Conv(16, (5, 3), "relu", (1, 2), "same"), Average(2, 1), fastnn.Flatten()),
            Dense(10, "softmax"),
        ],
    )
    assert repr(network).splitlines() == [
        "Network: 28 x 28 x 1 inputs, 10,954 parameters, float64",
        "  Conv2D(8, 5, relu)                                      (24, 24, 8)  W (5, 5, 1, 8)   b (8,)     208",
        "  MaxPool2D(2)                                            (12, 12, 8)",
        "  Conv2D(16, (5, 3), relu, strides=(1, 2), padding=same)  (12, 6, 16)  W (5, 3, 8, 16)  b (16,)  1,936",
        "  AveragePool2D(2, strides=1)                             (11, 5, 16)",
        "  Flatten()                                               (880,)",
        "  Dense(10, softmax)                                      (10,)        W (880, 10)      b (10,)  8,810",
    ]
    assert network.n_inputs == 784
    assert network.input_shape == (28, 28, 1)
    assert network.n_parameters == 5 * 5 * 8 + 8 + 5 * 3 * 8 * 16 + 16 + 880 * 10 + 10
    html = network._repr_html_()
    assert '<th scope="col">shape</th>' in html
    assert "(12, 6, 16)" in html
    assert [w.shape for w in network.weights] == [(5, 5, 1, 8), (8,), (5, 3, 8, 16), (16,), (880, 10), (10,)]


def test_weights_are_views_and_can_be_set():
    network = fastnn.Network((4, 4, 1), [Conv(2, 3, "relu"), Max(2), Dense(1, "identity")], seed=0)
    network.weights[0][..., 1] = 7.0
    assert (network.weights[0][..., 1] == 7.0).all()
    other = fastnn.Network((4, 4, 1), network.layers, seed=1)
    other.weights = network.weights
    np.testing.assert_array_equal(other._theta, network._theta)
    with pytest.raises(ValueError, match=r"weights\[0\] must have shape \(3, 3, 1, 2\), got \(2, 3, 3, 1\)"):
        other.weights = [np.ones((2, 3, 3, 1)), *network.weights[1:]]


def test_initial_weights_go_by_what_a_unit_takes_in():
    network = fastnn.Network((9, 9, 40), [Conv(50, 5, "relu"), Dense(1, "identity")], seed=0)
    w = network.weights[0]
    assert w.var() * 1000 == pytest.approx(2, rel=4 * np.sqrt(2 / w.size))
    assert not network.weights[1].any()


IMAGE = (4, 3, 2)
CONSTRUCTIONS = [
    (lambda: Conv(0, 3, "relu"), ValueError, "n_filters must be an integer >= 1, got 0"),
    (lambda: Conv(1, 0, "relu"), ValueError, "kernel_size must be an integer >= 1, got 0"),
    (lambda: Conv(1, (3, 3, 3), "relu"), TypeError, "kernel_size must be an integer, or a pair of them"),
    (lambda: Conv(1, 2.5, "relu"), TypeError, "kernel_size must be an integer, or a pair of them .*, got 2.5"),
    (lambda: Conv(1, (2.5, 1), "relu"), TypeError, "kernel_size must be an integer, got 2.5"),
    (lambda: Conv(1, 3, "relu", strides=(1, 0)), ValueError, "strides must be an integer >= 1, got 0"),
    (lambda: Conv(1, 3, "softmax"), ValueError, "softmax is for the output layer only, a Dense; use identity, sigmoid"),
    (lambda: Conv(1, 3, "rleu"), ValueError, "activation must be one of .*; did you mean 'relu'?"),
    (lambda: Conv(1, 3, "relu", padding="some"), ValueError, "padding must be one of 'valid', 'same', got 'some'"),
    (lambda: Max(0), ValueError, "pool_size must be an integer >= 1, got 0"),
    (lambda: Average(2, True), TypeError, "strides must be an integer, got True"),
    (
        lambda: fastnn.Network((4,), [Dense(1, "relu")]),
        ValueError,
        r"input_shape must be n_inputs, \(steps, features\) or \(height, width, channels\), got \(4,\)",
    ),
    (
        lambda: fastnn.Network((4, 0, 1), [Dense(1, "relu")]),
        ValueError,
        "the width of input_shape must be an integer >= 1",
    ),
    (
        lambda: fastnn.Network(IMAGE, [Conv(1, (2, 4), "relu"), Dense(1, "relu")]),
        ValueError,
        r"layers\[0\] is Conv2D\(1, \(2, 4\), relu\): a kernel of 2 x 4 does not fit into an image of 4 x 3; .*'same'",
    ),
    (
        lambda: fastnn.Network(IMAGE, [Max(2), Average(2), Dense(1, "relu")]),
        ValueError,
        r"layers\[1\] is AveragePool2D\(2\): a pool of 2 x 2 does not fit into an image of 2 x 1 and leaves nothing",
    ),
    (
        lambda: fastnn.Network(12, [Conv(1, 2, "relu"), Dense(1, "relu")]),
        ValueError,
        r"layers\[0\] is Conv2D\(1, 2, relu\), which needs an image, and the network takes 12 flat inputs; write Net",
    ),
    (
        lambda: fastnn.Network(IMAGE, [Dense(4, "relu"), Conv(1, 2, "relu"), Dense(1, "relu")]),
        ValueError,
        r"layers\[1\] is Conv2D.* which needs an image, and comes after layers\[0\], Dense\(4, relu\); put it before",
    ),
    (
        lambda: fastnn.Network(IMAGE, [fastnn.Flatten(), Max(2), Dense(1, "relu")]),
        ValueError,
        r"layers\[1\] is MaxPool2D\(2\), which needs an image, and comes after layers\[0\], Flatten\(\)",
    ),
    (
        lambda: fastnn.Network(IMAGE, [Conv(1, 2, "relu")]),
        ValueError,
        r"the last layer must be a fastnn.Dense, whose units are the outputs, got Conv2D\(1, 2, relu\)",
    ),
    (
        lambda: fastnn.Network(IMAGE, [Max(2), Dense(2, "softmax"), Dense(1, "relu")]),
        ValueError,
        r"layers\[1\] is softmax, which is for the output layer only",
    ),
    (
        lambda: fastnn.Network((2**20, 2**20, 2), [Dense(1, "relu")]),
        ValueError,
        r"input_shape \(1048576, 1048576, 2\) is no image's: it takes more memory than there is",
    ),
    (
        lambda: fastnn.Network((99, 99, 1), [*[Max(9, 1)] * 8, Dense(1, "relu")]),
        ValueError,
        r"layers\[4\] is MaxPool2D\(9, strides=1\): so many units take more memory than there is",
    ),
    (lambda: fastnn.Network(IMAGE, [fastnn.Flatten]), TypeError, r"got <class .*Flatten.*; write Flatten\(...\)"),
]


@pytest.mark.parametrize(("construct", "error", "message"), CONSTRUCTIONS)
def test_bad_construction(construct, error, message):
    with pytest.raises(error, match=message.replace("'?", r"'\?")):
        construct()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (5, 2, 4, 3),
            r"X must have shape \(n_samples, 4, 3, 2\), got .*; its channels come first: .*moveaxis\(X, 1, -1\)",
        ),
        ((5, 24), r"got \(5, 24\); reshape it with X.reshape\(-1, 4, 3, 2\)"),
        ((4, 3, 2), r"got \(4, 3, 2\); one sample is X.reshape\(1, 4, 3, 2\)"),
        ((5, 4, 3), r"got \(5, 4, 3\)$"),
        ((5, 3, 4, 2), r"got \(5, 3, 4, 2\)$"),
    ],
)
def test_bad_images(shape, message):
    network = fastnn.Network(IMAGE, [Max(2), Dense(1, "identity")], seed=0)
    for call in (network.predict, network.forward, lambda x: fastnn.gradient(network, x, np.ones(len(x)))):
        with pytest.raises(ValueError, match=message):
            call(np.ones(shape))


def test_one_channel_may_be_left_out():
    network = fastnn.Network((4, 3, 1), [Conv(2, 2, "relu"), Dense(1, "identity")], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 4, 3))
    np.testing.assert_array_equal(network.predict(x), network.predict(x[..., None]))
    with pytest.raises(
        ValueError, match=r"shape \(n_samples, 4, 3, 1\) or \(n_samples, 4, 3\), got \(4, 3\); one sample"
    ):
        network.predict(x[0])


def test_series_refuses_what_is_not_proved():
    case = Case("max")
    method = fastnn.Perturbation(evaluate="series")
    with pytest.raises(
        ValueError, match=r"'series' is proved for dense layers only, .* a Conv2D\(2, 3, relu\); use .*'auto'"
    ):
        case.gradient(method)
    with pytest.raises(ValueError, match="'series' is proved for dense layers only"):
        fastnn.Trainer(case.network, gradient=method)
    Case("none").gradient(method)  # it has dense weights only


def test_what_knows_dense_networks_only_says_so():
    network = Case("max").network
    with pytest.raises(TypeError, match=r"this knows dense networks only, and this one takes images of \(6, 6, 1\)"):
        network.dense_layers("this")


def test_a_file_of_layers_that_make_no_network_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    from test_saving import forge

    path = tmp_path / "network.safetensors"
    good = {
        "input_shape": [4, 4, 1],
        "layers": [
            ["Conv2D", {"n_filters": 1, "kernel_size": [2, 2], "activation": "relu"}],
            ["Dense", {"n_units": 1, "activation": "tanh"}],
        ],
        "dtype": "float64",
    }
    arrays = {
        "layers.0.weight": np.ones((2, 2, 1, 1)),
        "layers.0.bias": np.ones(1),
        "layers.1.weight": np.ones((9, 1)),
        "layers.1.bias": np.ones(1),
    }
    forge(path, good, arrays)
    assert fastnn.load(path).n_parameters == 15
    for change in (
        {"input_shape": [4, 4]},
        {"input_shape": [10**30, 4, 1]},
        {"input_shape": 4},
        {"layers": [["Conv3D", {}], *good["layers"][1:]]},
        {"layers": [["Conv2D", {"n_filters": 1}], *good["layers"][1:]]},
        {"layers": good["layers"][:1]},
        {"layers": good["layers"][:1] * 10_001},
    ):
        forge(path, good | change, arrays)
        with pytest.raises(ValueError, match="does not hold a network"):
            fastnn.load(path)


def test_threads_share_large_work():
    small, large = (
        Case("none").network._layout,
        fastnn.Network((28, 28, 1), [Conv(8, 5, "relu"), Dense(10, "softmax")])._layout,
    )
    for method in Method:
        assert count_chunks(small, method, 2) == 1
        assert count_chunks(large, method, 4096) == numba.get_num_threads()


def test_what_a_perturbation_costs_at_most():
    # One filter of four weights and a bias over 3 x 3 places, pooled to 2 x 2, into two outputs.
    layout = fastnn.Network((4, 4, 1), [Conv(1, 2, "relu"), Max(2, 1), Dense(2, "identity")])._layout
    n_products, n_values = 9 * 4, 16 + 9 + 4
    assert count_stem(layout, Method.NONE) == (n_products, n_values)
    assert count_stem(layout, Method.BACKPROP) == (3 * n_products, 3 * n_values)
    for method in (Method.DIRECT, Method.SERIES):
        # Five times: nine sums and the four that are passed on, with eight products, and two outputs.
        assert count_stem(layout, method) == (3 * n_products + 5 * 4 * 2, 3 * n_values + 5 * (9 + 4 + 2))
    assert count_stem(fastnn.mlp(3, 2)._layout, Method.SERIES) == (0, 0)


def test_a_network_takes_the_units_of_its_own_kinds_only():
    task = fastnn.Perturbation().make_task(Loss.SQUARED_ERROR, np.dtype("float64"), 1)
    units = program.list_units(fastnn.mlp(3, 2)._layout, task, False, False)
    assert not any(unit in program.STEM_UNITS for phase in units.values() for unit in phase)
    assert find_plan(Case("average").network._layout).kinds == (Kind.CONV, Kind.AVERAGE_POOL)


def test_what_a_short_series_leaves_out_is_below_rounding():
    largest = max(module.DERIVATIVE_BOUNDS[3] for module in activations.MODULES.values())
    assert largest * SHORT**3 < np.finfo(float).eps / 2


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_public(layer):
    """In the package, in the reference, and in the README's list."""
    assert getattr(fastnn, layer.__name__) is layer
    root = Path(__file__).parent.parent
    assert f".. autoclass:: {layer.__name__}\n" in (root / "docs/api/network.rst").read_text()
    fields = ", ".join(field.name for field in dataclasses.fields(layer))
    assert f"`{layer.__name__}({fields})`" in (root / "README.md").read_text()


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_a_file_has_all_that_the_others_have(kind):
    module = MODULES[kind]
    assert module.__name__.endswith(kind.name.lower())
    assert hasattr(module, "shape")
    needed = set(FUNCTIONS) - {"want", "add", "start", "pull"}
    if kind == Kind.EMBEDDING:  # nothing is below it
        needed -= {"back", "reach", "carry"}
    assert needed <= set(vars(module))
    assert hasattr(module, "add") == hasattr(module, "start")  # with weights, or without
    assert any(getattr(layer, "kind", None) == kind for layer in LAYERS)
