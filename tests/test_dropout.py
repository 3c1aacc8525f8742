"""Units that are dropped: against plain NumPy that drops the same, and what must not depend on anything."""

import copy
from dataclasses import replace

import naive
import numpy as np
import pytest
import test_layers
from conftest import ELEMENTWISE, Case
from test_gradients import DTYPES, ROUNDINGS, bound, largest_difference
from test_schemes import flat, is_near, masked, widened

import fastnn
from fastnn import Dense, Dropout
from fastnn._engine.plan import count_steps
from fastnn.training.gradients import TOLERANCE, TOLERANCE32

KEY = 2**62 + 12345
HEADS = [("squared_error", "identity"), ("categorical_cross_entropy", "softmax"), ("squared_error", "softmax")]


def draw_twin(network, places, step=0, key=KEY):
    """Return the naive layers, with the masks of a step, of samples or steps of them at those places."""
    layers, level, n_below = [], 0, len(network.shared_layers())
    sizes, starts = network._layout.sizes, network._layout.starts[0]
    for k, layer in enumerate(network.layers):
        if isinstance(layer, Dropout):
            drawn = naive.draw_mask(layer.rate, key, step, places, starts[level], sizes[level], network.dtype)
            layers.append(naive.Dropout(drawn))
        else:
            layers.append(test_layers.twin(layer))
            level += k >= n_below
    return layers


class Dropped(Case):
    """A network whose hidden units, and inputs, are dropped, in gradients too, as in the first step of a run."""

    def __init__(self, head, body, dtype="float64", rates=(0.2, 0.5, 0.25, 0.3), n_samples=5):
        super().__init__(head, body, dtype, n_samples=n_samples)
        weights = self.network.weights
        layers = [part for pair in zip(map(Dropout, rates), self.network.layers, strict=False) for part in pair]
        self.network = fastnn.Network(3, layers, dtype=dtype)
        self.network.weights = weights
        self.network._layout = self.network._drop(KEY)
        self.activations = self.layers = draw_twin(self.network, range(n_samples))


class DroppedStack(test_layers.Case):
    """A network over images or sequences, likewise."""

    def __init__(self, stack, head=HEADS[1], dtype="float64"):
        shape, layers = test_layers.STACKS[stack]
        super().__init__((shape, [*layers, Dense(3, "tanh")]), head, dtype)
        *below, hidden, last = self.network.layers
        weights = self.network.weights
        self.network = fastnn.Network(shape, [*below, Dropout(0.4), hidden, Dropout(0.25), last], dtype=dtype)
        self.network.weights = weights
        self.network._layout = self.network._drop(KEY)
        self.layers = draw_twin(self.network, range(len(self.x) * count_steps(self.network._layout)))


@pytest.mark.grid
@pytest.mark.parametrize("hidden", ELEMENTWISE)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_differences_are_those_of_plain_numpy(head, depth, hidden):
    for dtype in DTYPES:
        case = Dropped(head, (hidden, depth), dtype)
        for scheme, eps in (("forward", 1e-4), ("central", 1e-4), ("forward", 1.0)):
            expected, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = bound(case, sizes, eps, dtype)
            measured = case.gradient(fastnn.Perturbation(eps, scheme, "direct"))
            assert largest_difference(measured, expected) <= allowed
            tolerance = TOLERANCE if dtype == "float64" else TOLERANCE32
            allowed += tolerance * len(case.x) * max(float(s.max()) for s in sizes)
            assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme)), expected) <= allowed
        # As in test_gradients.py, for central differences at 1e-6.
        expected, sizes = case.truth(eps=1e-6, scheme="central")
        allowed = 1e-11 if dtype == "float64" else ROUNDINGS * np.finfo(dtype).eps
        allowed *= max(1.0, *(float(s.max()) for s in sizes))
        assert largest_difference(case.gradient(fastnn.Backprop()), expected) <= allowed


@pytest.mark.late(kept=2)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("hidden", ["tanh", "relu", "silu", "softplus", "elu"])
def test_estimates_are_those_of_plain_numpy(hidden, dtype, scheme):
    """With the tolerances of test_schemes.py."""
    q, seed = 3, 11
    case = Dropped(HEADS[1], (hidden, 2), dtype)
    truth = 100 * float(np.finfo(np.longdouble).eps) * (1 + case.mean_loss())
    for eps in (1e-5, 0.3):
        method = fastnn.RandomDirections(q, eps, scheme=scheme, seed=seed)
        wanted = naive.along_directions(*widened(case), "rademacher", seed, 0, q, eps, scheme)
        size = max(q * np.abs(flat(wanted)).max(), 10 * eps)
        assert is_near(case.gradient(method), wanted, dtype, size, truth / eps * case.network._theta.size)
        noise = naive.unit_noise("gaussian", seed, 0, range(5), [len(b) for b in case.network.weights[1::2]])
        for layers in ("together", "each"):
            method = fastnn.NodePerturbation(eps, "gaussian", layers, scheme, seed)
            wanted = naive.node_perturbation(*widened(case), noise, eps, layers, scheme)
            size = max(np.abs(flat(wanted)).max(), 10 * eps) * len(case.x)
            assert is_near(case.gradient(method), wanted, dtype, size, truth / eps)
    exact = [g.astype(float) for g in case.gradient(fastnn.Backprop())]
    found = case.gradient(fastnn.ForwardGradient(q, seed=seed))
    assert is_near(found, naive.projected(exact, "rademacher", seed, 0, q), dtype, 3 * np.abs(flat(exact)).sum())
    method = fastnn.Perturbation(1e-4, scheme, fraction=0.3, seed=9)
    whole = flat(case.gradient(replace(method, fraction=1.0)))
    np.testing.assert_array_equal(flat(case.gradient(method)), whole * masked(case, method, (0.3,) * 3))


STACKS = ["same", "three", "pulled", "flat", "every", "one", "flattened", "steps", "lstm", "gru", "tokens", "caption"]


@pytest.mark.late(kept=4)
@pytest.mark.parametrize("stack", STACKS)
def test_differences_below_are_those_of_plain_numpy(stack):
    case = DroppedStack(stack)
    for eps, scheme in ((1e-4, "forward"), (1e-4, "central"), (1.0, "forward")):
        case.check(("auto", "direct"), eps, scheme)
    if stack == "every":  # two terms below the dense layers, see test_stem_series.py
        case.check(["auto"], 1e-7)
    # As in test_layers.py.
    truth, sizes = case.truth(eps=1e-6, scheme="central")
    for ours, theirs in zip(case.gradient(fastnn.Backprop()), truth, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-10 * max(1.0, *(float(s.max()) for s in sizes))


@pytest.mark.late
@pytest.mark.parametrize("stack", ["overlapping", "caption", "every"])
def test_estimates_below_are_those_of_plain_numpy(stack):
    """As in test_schemes.py, where z of the first dense layer is subtracted: to roundings over eps."""
    case, eps, seed = DroppedStack(stack), 1e-3, 11
    found = case.gradient(fastnn.RandomDirections(2, eps, seed=seed))
    wanted = flat(naive.along_directions(*widened(case), "rademacher", seed, 0, 2, eps))
    wanted *= count_steps(case.network._layout)  # the naive mean is over steps
    assert np.abs(flat(found) - wanted).max() <= 1e-9 * max(1.0, np.abs(wanted).max())
    weights, layers, loss, x, y = widened(case)
    noise = naive.unit_noise("rademacher", seed, 0, range(len(x)), naive.count_sums(weights, layers, x))
    for turns in ("together", "each"):
        found = case.gradient(fastnn.NodePerturbation(eps, layers=turns, seed=seed))
        wanted = naive.node_perturbation(weights, layers, loss, x, y, noise, eps, turns)
        assert np.abs(flat(found) - flat(wanted)).max() <= 1e-9 * max(1.0, np.abs(flat(wanted)).max())


def make_network(dtype="float64", rate=0.5):
    layers = [Dense(12, "tanh"), Dropout(rate), Dense(9, "relu"), Dropout(0.25), Dense(3, "softmax")]
    return fastnn.Network(10, [Dropout(0.1), *layers], seed=0, dtype=dtype)


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(26, 10)) / 2, RNG.integers(0, 3, 26)


def train(network=None, epochs=3, **options):
    """Return a trainer after some epochs."""
    trainer = fastnn.Trainer(
        network or make_network(), **{"loss": "categorical_cross_entropy", "batch_size": 12, **options}
    )
    trainer.fit(X, Y, epochs=epochs)
    return trainer


def assert_same(trainer, other):
    for ours, theirs in zip(trainer.network.weights, other.network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(trainer.history.loss, other.history.loss)


@pytest.mark.parametrize("block_size", [None, 8])
@pytest.mark.parametrize("method", [fastnn.Perturbation(1e-4), fastnn.Backprop()], ids=["perturbation", "backprop"])
def test_training_is_that_of_plain_numpy(method, block_size):
    """Each step and sample by its own masks; a place is one of the epoch, with blocks one of the batch.

    Steps at a rate of 0.1 pass on an error of 1e-8 of what they move by, and back-propagation is off by eps.
    """
    network, rate = make_network(), 0.1
    trainer = fastnn.Trainer(
        network, loss="categorical_cross_entropy", gradient=method, optimizer=fastnn.SGD(rate), batch_size=12,
        shuffle=False, seed=7, block_size=block_size,
    )  # fmt: skip
    key = int(np.random.default_rng(7).integers(2**63))
    weights, y = [w.copy() for w in network.weights], naive.one_hot(Y, 3)
    found = trainer.fit(X, Y, epochs=2).loss
    wanted, step = [], 0
    for _ in range(2):
        total = 0.0
        for start in range(0, 26, 12):
            rows = range(start, min(start + 12, 26))
            places = rows if block_size is None else range(len(rows))
            layers = draw_twin(network, places, step, key)
            batch = "categorical_cross_entropy", X[rows], y[rows]
            total += naive.losses(weights, layers, *batch).sum()
            slopes = backprop(weights, layers, X[rows], y[rows])
            weights = naive.sgd(weights, slopes, rate)
            step += 1
        wanted.append(total / 26)
    np.testing.assert_allclose(found, wanted, rtol=1e-12 if method == fastnn.Backprop() else 1e-4)
    for ours, theirs in zip(network.weights, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12 if method == fastnn.Backprop() else 1e-4)


def backprop(weights, layers, x, y):
    """Return the gradient of dense layers, softmax on top, under the cross-entropy."""
    z, a = naive.forward(weights, layers, x)
    delta, slopes = (a[-1] - y) / len(x), []
    left, inputs = list(weights), [x, *a]
    for k in range(len(layers) - 1, -1, -1):
        if isinstance(layers[k], naive.Dropout):
            delta = delta * layers[k].mask
            continue
        if layers[k] != "softmax":
            delta = delta * ((1 - a[k] ** 2) if layers[k] == "tanh" else (z[k] > 0))
        slopes = [inputs[k].T @ delta, delta.sum(axis=0), *slopes]
        delta, left = delta @ left[-2].T, left[:-2]
    return slopes


METHODS = [
    fastnn.Perturbation(),
    fastnn.Perturbation(1e-4, "central"),
    fastnn.Backprop(),
    fastnn.RandomDirections(5),
    fastnn.NodePerturbation(),
    fastnn.ForwardGradient(2, "units"),
    fastnn.Perturbation(fraction=0.5),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_bits_depend_neither_on_threads_nor_on_a_break(method, tmp_path, chunks):
    pytest.importorskip("safetensors")
    whole = train(gradient=method, epochs=4)
    parts = train(gradient=method, epochs=1)
    parts.save(tmp_path / "run.safetensors")
    parts = fastnn.Trainer.resume(tmp_path / "run.safetensors")
    assert parts.network.layers == whole.network.layers
    parts.fit(X, Y, epochs=3)
    assert_same(parts, whole)
    chunks(3)
    assert_same(train(gradient=method, epochs=4), whole)


def test_blocks_of_samples_draw_what_the_batch_does(chunks):
    """The workspace's blocks do not show; those of a trainer have the masks of places in the batch."""
    whole, blocks = (train(epochs=1, batch_size=None, shuffle=False, block_size=size) for size in (None, 7))
    for ours, theirs in zip(blocks.network.weights, whole.network.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:a step takes")  # microseconds, and a cluster says so
def test_workers_and_files_draw_what_is_drawn_here(tmp_path):
    distributed = pytest.importorskip("distributed")
    whole = train(block_size=4)
    options = {"loss": "categorical_cross_entropy", "batch_size": 12, "block_size": 4}
    parts = fastnn.Trainer(make_network(), **options)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    parts.fit(tmp_path / "x.npy", tmp_path / "y.npy", epochs=3)
    assert_same(parts, whole)
    workers = fastnn.Trainer(make_network(), **options)
    settings = {"processes": False, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(n_workers=2, **settings) as client:
        workers.fit(X, Y, epochs=3, client=client)
    assert_same(workers, whole)


def test_batches_that_come_one_after_another():
    whole = train()
    batches = fastnn.Trainer(make_network(), loss="categorical_cross_entropy", batch_size=12)
    batches.fit([(X, Y)], epochs=3)
    assert_same(batches, whole)


def test_copies_drop_the_same():
    whole, begun = train(epochs=3), train(epochs=1)
    other = copy.deepcopy(begun)
    other.fit(X, Y, epochs=2)
    assert_same(other, whole)


def test_each_step_epoch_and_seed_drops_others():
    one, other = train(seed=0, shuffle=False), train(seed=1, shuffle=False)
    assert (one.history.loss != other.history.loss).all()
    still = train(seed=0, shuffle=False, optimizer=fastnn.SGD(0.0))
    assert len(set(still.history.loss)) == 3
    assert_same(train(seed=0, shuffle=False), one)
    assert_same(train(seed=np.random.default_rng(0), shuffle=False), one)


def test_masks_are_of_the_rate_and_independent():
    """A share kept of n draws is off by its deviation times z, below 5; so is how often two are kept together."""
    rate, n = 0.3, 200
    masks = np.array([naive.draw_mask(rate, KEY, step, range(n), 20, 10) for step in range(20)])
    assert set(np.unique(masks)) == {0.0, 1 / (1 - rate)}
    kept = (masks > 0).reshape(-1, 10)
    assert (np.abs(kept.mean(axis=0) - 0.7) < 5 * np.sqrt(0.21 / len(kept))).all()
    assert abs(masks.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / masks.size)
    centered = (masks > 0) - 0.7
    for pair in (
        (centered[1:], centered[:-1]), (centered[:, 1:], centered[:, :-1]), (centered[..., 1:], centered[..., :-1])
    ):  # fmt: skip
        product = pair[0] * pair[1]
        assert abs(product.mean()) < 5 * 0.21 / np.sqrt(product.size)


def test_what_is_predicted_is_whole():
    network = make_network()
    plain = fastnn.mlp(10, 12, 9, 3, hidden=["tanh", "relu"], output="softmax")
    plain.weights = network.weights
    np.testing.assert_array_equal(network.predict(X), plain.predict(X))
    passed = network.forward(X)
    np.testing.assert_array_equal(passed.activations[0], X)
    np.testing.assert_array_equal(passed.pre_activations[2], passed.activations[1])
    for method in (fastnn.Perturbation(), fastnn.Backprop()):
        both = [
            fastnn.gradient(which, X, Y, loss="categorical_cross_entropy", method=method) for which in (network, plain)
        ]
        np.testing.assert_array_equal(flat(both[0]), flat(both[1]))
    trainer, other = (fastnn.Trainer(which, loss="categorical_cross_entropy") for which in (network, plain))
    assert trainer.evaluate(X, Y) == other.evaluate(X, Y)


def test_a_rate_of_zero_has_the_bits_of_none():
    plain = fastnn.mlp(10, 8, 3, seed=0, output="softmax")
    layers = [Dropout(0), plain.layers[0], Dropout(0.0), plain.layers[1]]
    dropped = fastnn.Network(10, layers)
    dropped.weights = plain.weights
    assert_same(train(dropped), train(plain))


@pytest.mark.parametrize("method", [fastnn.Perturbation(), fastnn.Backprop()], ids=str)
def test_sparse_inputs_have_the_bits_of_dense_ones(method):
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(RNG.random((26, 300)) < 0.1, RNG.normal(size=(26, 300)), 0.0)
    runs = []
    for samples in (x, sparse.csr_array(x)):
        network = fastnn.Network(300, [Dropout(0.3), Dense(8, "tanh"), Dropout(0.5), Dense(3, "softmax")], seed=0)
        trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", gradient=method)
        trainer.fit(samples, Y, epochs=2)
        runs.append(trainer)
    assert_same(*runs)


def test_devices_and_readouts():
    """They work on the steps' losses as on others."""
    options = {"devices": fastnn.hardware.Devices(write_noise=1e-3, seed=1)}
    assert_same(train(**options), train(**options))
    options = {"readout": fastnn.hardware.Readout(noise=1e-6)}
    assert_same(train(**options), train(**options))


def test_overfitting_is_less():
    """What dropout is for: few samples, a quarter of whose labels are wrong."""
    rng = np.random.default_rng(3)
    x, held = rng.normal(size=(40, 10)), rng.normal(size=(500, 10))
    y, truth = (np.sign(a[:, 0]) * np.where(rng.random(len(a)) < 0.25, -1, 1) > 0 for a in (x, held))
    losses = []
    for rate in (0.0, 0.5):
        network = fastnn.mlp(10, 40, 2, hidden="relu", output="softmax", seed=0, dropout=rate)
        trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", optimizer=fastnn.Adam(0.02))
        trainer.fit(x, y.astype(int), epochs=60)
        losses.append(trainer.evaluate(held, truth.astype(int)).loss)
    assert losses[1] < losses[0]


def test_files(tmp_path):
    pytest.importorskip("safetensors")
    network = make_network()
    network.save(tmp_path / "network.safetensors")
    again = fastnn.load(tmp_path / "network.safetensors")
    assert again.layers == network.layers
    np.testing.assert_array_equal(again.predict(X), network.predict(X))
    trainer = train(network)
    for key in (-1, 2**63, "1"):
        trainer._key = key
        with pytest.raises((ValueError, TypeError), match="what is dropped"):
            trainer.save(tmp_path / "run.safetensors")


def test_how_it_is_shown():
    lines = str(make_network()).splitlines()
    assert lines[1] == "  Dropout(0.1)"
    assert lines[2].split() == ["Dense(12,", "tanh)", "W", "(10,", "12)", "b", "(12,)", "132"]
    assert ">Dropout(0.5)</th><td></td><td></td><td></td></tr>" in make_network()._repr_html_()
    assert repr(Dropout(0.5)) == "Dropout(rate=0.5)"
    assert make_network()._describe()["layers"][0] == ["Dropout", {"rate": 0.1}]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [Dense(2, "relu"), Dropout(0.5)],
            r"layers\[1\] is Dropout\(0.5\), which stands last: outputs are never dropped",
        ),
        ([Dropout(0.5)], "which stands last"),
        (
            [Dense(2, "relu"), Dropout(0.5), Dropout(0.2), Dense(2, "relu")],
            r"layers\[1\] is Dropout\(0.5\), which comes before layers\[2\], Dropout\(0.2\): .* is Dropout\(0.6\)",
        ),
        (
            [Dense(2, "relu"), Dropout(0.5), fastnn.Repeat(3), fastnn.RNN(2, "tanh"), Dropout(0.2), Dense(1, "relu")],
            r"layers\[1\] is Dropout\(0.5\), which stands below layers\[3\], RNN\(2, tanh\): .* put it above",
        ),
    ],
    ids=["last", "alone", "twice", "below"],
)
def test_places_that_it_cannot_have(layers, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Network(3, layers)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan"), "0.5", True, None])
def test_rates_that_it_cannot_have(rate):
    with pytest.raises((TypeError, ValueError), match="rate must be"):
        Dropout(rate)
    with pytest.raises((TypeError, ValueError), match="dropout must be"):
        fastnn.mlp(3, 4, 1, dropout=rate)


def test_dropout_of_mlp():
    network = fastnn.mlp(3, 5, 4, 1, hidden=["relu", "tanh"], dropout=0.25)
    assert network.layers == (Dense(5, "relu"), Dropout(0.25), Dense(4, "tanh"), Dropout(0.25), Dense(1, "identity"))
    assert fastnn.mlp(3, 5, 1, dropout=0).layers == fastnn.mlp(3, 5, 1).layers
    with pytest.raises(ValueError, match=r"dropout is of hidden layers, and sizes \(3, 1\) have none, got 0.25"):
        fastnn.mlp(3, 1, dropout=0.25)


def test_pictures_leave_it_out(monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    import fastnn.plot

    layers = [Dropout(0.1), Dense(4, "tanh"), Dropout(0.5), Dense(3, "softmax")]
    for shape, below in ((2, []), ((4, 4, 1), [fastnn.Conv2D(2, 2, "relu")])):
        texts = []
        for chosen in ([*below, *layers], [*below, *layers[1::2]]):
            network = fastnn.Network(shape, chosen, seed=0)
            ax = fastnn.plot.network(network, x=np.full(network.input_shape, 0.5))
            texts.append([text.get_text() for text in ax.texts])
            plt.close("all")
        assert texts[0] == texts[1]


@pytest.mark.torch
def test_exchange_with_torch():
    import torch
    from torch import nn

    network = make_network()
    module = network.to_torch()
    assert [part.p for part in module if isinstance(part, nn.Dropout)] == [0.1, 0.5, 0.25]
    module.train()
    again = fastnn.from_torch(module)
    assert module.training
    assert module[0].training
    assert again.layers == network.layers
    np.testing.assert_array_equal(again._theta, network._theta)
    module.eval()
    there = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(there, network.predict(X), rtol=1e-12)
    convolution = nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(18, 3)
    images = fastnn.from_torch(nn.Sequential(*convolution), (4, 4, 1))
    assert images.layers == (fastnn.Conv2D(2, 2, "relu"), Dropout(0.3), Dense(3, "identity"))
    assert fastnn.from_torch(images.to_torch(), (4, 4, 1)).layers == images.layers
    for modules, message in (
        ([nn.Linear(3, 2), nn.Dropout(1.0), nn.Linear(2, 1)], r"module\[1\] is Dropout\(p=1.0.*rate must be"),
        ([nn.Linear(3, 2), nn.Dropout(0.5)], "stands last"),
        ([nn.Linear(3, 2), nn.Dropout(0.5), nn.ReLU(), nn.Linear(2, 1)], "fastnn has one activation after each Linear"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.from_torch(nn.Sequential(*modules))


def test_onnx_files_predict(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    network = make_network("float32")
    network.to_onnx(tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    (there,) = session.run(None, {"X": X.astype("float32")})
    np.testing.assert_allclose(there, network.predict(X), rtol=1e-5)
