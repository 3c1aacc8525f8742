"""Estimates of a network's gradient: against plain NumPy that draws the same, and the closed forms that they have."""

import math
from dataclasses import replace

import naive
import numpy as np
import pytest
import test_layers
from conftest import HEADS

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import program
from fastnn._engine.workspace import make_work
from fastnn.hardware import Readout
from fastnn.kernels.schemes import MODULES
from fastnn.training.gradients import count_queries, make_recipe
from fastnn.training.schemes import KINDS, NOISES

# Roundings on the way from a direction to the loss's change, of numbers of its size: sums of up to 5 products in 3
# layers, a dozen in each change of an activation, two dozen in a loss.
ROUNDINGS = 200
# In plain Python, one of them takes minutes enough.
DTYPES = ("float64",) if JIT_DISABLED else ("float64", "float32")
# Over layers below the dense ones, those of float32 are compiled beside the benchmarks, and so are more of them.
STEM_DTYPES = ["float64", pytest.param("float32", marks=pytest.mark.exhaustive)]
NODE_STACKS = [
    "overlapping",
    "caption",
    *(pytest.param(name, marks=[] if JIT_DISABLED else pytest.mark.exhaustive)
      for name in test_layers.STACKS if name not in ("overlapping", "caption")),
]  # fmt: skip
SOFTMAX = HEADS[-1]
SOME_HEADS = [SOFTMAX, ("squared_error", "tanh"), ("huber", "identity"), ("binary_cross_entropy", "sigmoid")]
RNG = np.random.default_rng(0)
N = 100 if JIT_DISABLED else 3000  # seeds


def flat(arrays):
    return np.concatenate([np.asarray(array, float).ravel() for array in arrays])


def widened(case):
    """Return what the naive functions take, in extended precision."""
    weights = [w.astype(np.longdouble) for w in case.network.weights]
    layers = getattr(case, "layers", None) or case.activations
    return weights, layers, case.loss, case.x.astype(np.longdouble), case.y.astype(np.longdouble)


def is_near(ours, theirs, dtype, size=None, more=0.0):
    """Say whether two gradients differ by roundings of numbers of a size, that of the larger by default."""
    ours, theirs = flat(ours), flat(theirs)
    size = np.abs(theirs).max() if size is None else size
    return np.abs(ours - theirs).max() <= ROUNDINGS * np.finfo(dtype).eps * size + more


def is_mean(samples, wanted):
    """Say whether a mean is what it should be, by the samples' own deviation: z below 5."""
    z = (samples.mean(axis=0) - wanted) / (samples.std(axis=0, ddof=1) / math.sqrt(len(samples)))
    return bool((np.abs(z) < 5).all())


def draws(case, method, n=N):
    """Return estimates for so many seeds, (n, n_parameters)."""
    return np.array([flat(case.gradient(replace(method, seed=seed))) for seed in range(n)])


@pytest.mark.late(kept=12)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shaping", [None, "sign", "ranks"])
@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("kind", KINDS)
def test_random_directions_are_those_of_plain_numpy(make_case, dtype, kind, scheme, shaping):
    """Two changes of up to `size` cancel to what a difference is; sums over q directions are of q of them."""
    q, seed = 3, 11
    for head, body in zip(SOME_HEADS, [("tanh", 2), ("relu", 1), ("silu", 2), ("identity", 0)], strict=True):
        case = make_case(head, body, dtype)
        for eps in (1e-5, 0.3):
            method = fastnn.RandomDirections(q, eps, kind, scheme, shaping, seed)
            wanted = naive.along_directions(*widened(case), kind, seed, 0, q, eps, scheme, shaping)
            singles = naive.along_directions(*widened(case), kind, seed, 0, q, eps, scheme)
            # Losses are subtracted in the truth, in extended precision.
            more = 0.0 if shaping else 100 * float(np.finfo(np.longdouble).eps) * (1 + case.mean_loss()) / eps
            size = q * np.abs(flat(singles)).max() if shaping is None else 1.0
            # Of a curved loss either reading changes by far more than their difference.
            size = max(size, 10 * eps) if shaping is None else size
            assert is_near(case.gradient(method), wanted, dtype, size, more * case.network._theta.size)


@pytest.mark.late(kept=8)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", ["together", "each"])
@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("kind", NOISES)
def test_node_perturbation_is_that_of_plain_numpy(make_case, dtype, kind, scheme, layers):
    seed, sample_weight = 5, [1.0, 2.0, 0.5, 1.0, 3.0]
    for head, body in zip(SOME_HEADS, [("tanh", 2), ("relu", 1), ("silu", 3), ("identity", 0)], strict=True):
        case = make_case(head, body, dtype)
        noise = naive.unit_noise(kind, seed, 0, range(len(case.x)), [len(b) for b in case.network.weights[1::2]])
        for sigma in (1e-5, 0.3):
            method = fastnn.NodePerturbation(sigma, kind, layers, scheme, seed)
            options = {"turns": layers, "scheme": scheme, "sample_weight": sample_weight}
            wanted = naive.node_perturbation(*widened(case), noise, sigma, **options)
            # As above; a sum over samples.
            size = max(np.abs(flat(wanted)).max(), 10 * sigma) * len(case.x)
            more = 100 * float(np.finfo(np.longdouble).eps) * (1 + case.mean_loss()) / sigma
            found = case.gradient(method, sample_weight=sample_weight)
            assert all(g.dtype == dtype for g in found)
            assert is_near(found, wanted, dtype, size, more)


@pytest.mark.late(kept=2)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_forward_gradients_are_those_of_plain_numpy(make_case, dtype, kind):
    q, seed = 3, 6
    case = make_case(SOFTMAX, ("tanh", 2), dtype)
    exact = [g.astype(float) for g in case.gradient(fastnn.Backprop())]
    found = case.gradient(fastnn.ForwardGradient(q, directions=kind, seed=seed))
    size = np.abs(flat(exact)).sum() * (len(flat(exact)) if kind == "coordinate" else 3.0)
    assert is_near(found, naive.projected(exact, kind, seed, 0, q), dtype, size)


@pytest.mark.parametrize("kind", NOISES)
def test_forward_gradients_of_units_are_those_of_plain_numpy(make_case, kind):
    """What node perturbation tends to: central differences at sigma are off by sigma**2 times a third derivative."""
    q, seed = 3, 6
    case = make_case(SOFTMAX, ("tanh", 2))
    wanted, sigma = np.zeros(case.network._theta.size), 1e-5
    sizes = [len(b) for b in case.network.weights[1::2]]
    for index in range(q):
        noise = naive.unit_noise(kind, seed, 0, [place * q + index for place in range(len(case.x))], sizes)
        wanted += flat(naive.node_perturbation(*widened(case), noise, sigma, scheme="central")) / q
    found = flat(case.gradient(fastnn.ForwardGradient(q, "units", kind, seed)))
    assert np.abs(found - wanted).max() <= 1e-8 * np.abs(wanted).max()


def masked(case, method, fractions, step=0):
    """Return what the differences are multiplied by."""
    sizes = [w.size + b.size for w, b in zip(case.network.weights[::2], case.network.weights[1::2], strict=True)]
    parts = []
    for layer, (size, share) in enumerate(zip(sizes, fractions, strict=True)):
        count = max(1, round(share * size))
        part = np.zeros(size)
        order = naive.counted_order(method.seed, 5, step // method.redraw, size, layer)
        part[order[:count]] = size / count if method.rescale else 1.0
        parts.append(part)
    return np.concatenate(parts)


@pytest.mark.parametrize("evaluate", ["auto", "direct"])
def test_differences_of_some_weights_are_those_of_plain_numpy(make_case, evaluate):
    for rescale, fraction in ((False, 0.3), (True, (0.1, 1.0, 0.5))):
        case = make_case(SOFTMAX, ("tanh", 2))
        method = fastnn.Perturbation(1e-4, evaluate=evaluate, fraction=fraction, rescale=rescale, seed=9)
        whole = flat(case.gradient(replace(method, fraction=1.0)))
        fractions = fraction if isinstance(fraction, tuple) else (fraction,) * 3
        np.testing.assert_array_equal(flat(case.gradient(method)), whole * masked(case, method, fractions))


def test_masks_are_drawn_anew_each_so_many_steps(make_case):
    case = make_case(SOFTMAX, ("tanh", 1))
    method = fastnn.Perturbation(fraction=(0.2, 0.4), redraw=2)
    before = flat(case.network.weights)
    trainer = fastnn.Trainer(case.network, loss=case.loss, gradient=method, batch_size=None)
    moved = []
    for step in range(6):
        trainer.fit(case.x, case.y)
        now = flat(case.network.weights)
        moved.append(now != before)
        np.testing.assert_array_equal(moved[-1], masked(case, method, method.fraction, step) != 0)
        before = now
    assert (moved[0] == moved[1]).all()
    assert (moved[2] == moved[3]).all()
    assert (moved[1] != moved[2]).any()


READOUT = Readout(noise=0.3, repeats=3, seed=4)


def noise_of(readout, query, index=0, size=1):
    """Return the mean noise of a reading."""
    return readout.noise / math.sqrt(readout.repeats) * naive.counted_normals(readout.seed, 4, query, index, size)


def test_noise_is_that_of_plain_numpy(make_case):
    """On exact differences: of a reading, of all of them at once, and of each sample's."""
    case = make_case(SOFTMAX, ("tanh", 1), n_samples=5)
    size = case.network._theta.size
    n = READOUT.noise / math.sqrt(READOUT.repeats) * naive.counted_noise(READOUT.seed, 4, 0, 0, size)
    for method, noise in (
        (fastnn.Perturbation(0.1), (n - noise_of(READOUT, 0, 1)) / 0.1),
        (fastnn.Perturbation(0.1, "central"), n / math.sqrt(2) / 0.1),
    ):
        found = flat(case.gradient(method, readout=READOUT)) - flat(case.gradient(method))
        # In float32, an ulp each: a logarithm, a root, an angle, its sine, a product; the base has none.
        largest = np.abs(n).max() / 0.1
        assert np.abs(found - noise).max() <= 5 * float(np.finfo(np.float32).eps) * largest
    for scheme, pairs in (("central", [(0, 1), (2, 3)]), ("forward", [(1, 0), (2, 0)])):
        method = fastnn.RandomDirections(2, 0.1, scheme=scheme, seed=3)
        drawn = naive.step_directions("rademacher", 3, 0, 2, size, True)
        width = 0.2 if scheme == "central" else 0.1
        read = [(noise_of(READOUT, a) - noise_of(READOUT, b)) / width for a, b in pairs]
        wanted = np.mean(read * drawn, axis=0)
        found = flat(case.gradient(method, readout=READOUT)) - flat(case.gradient(method))
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    for layers, scheme, n_readings in (("each", "forward", 3), ("each", "central", 4), ("together", "forward", 2)):
        method = fastnn.NodePerturbation(0.1, layers=layers, scheme=scheme)
        sizes = [len(b) for b in case.network.weights[1::2]]
        drawn = naive.unit_noise("rademacher", 0, 0, range(5), sizes)
        read = np.array([[noise_of(READOUT, k * n_readings + r)[0] for r in range(n_readings)] for k in range(5)])
        inputs = [case.x, case.network.forward(case.x).activations[0]]
        wanted = []
        for layer in range(2):
            turn = layer if layers == "each" else 0
            slopes = (read[:, 1 + turn] - read[:, 0]) / 0.1
            if scheme == "central":
                slopes = (read[:, 2 * turn] - read[:, 2 * turn + 1]) / 0.2
            delta = slopes[:, None] * drawn[layer] / 5
            wanted += [inputs[layer].T @ delta, delta.sum(axis=0)]
        found = flat(case.gradient(method, readout=READOUT)) - flat(case.gradient(method))
        np.testing.assert_allclose(found, flat(wanted), rtol=1e-11, atol=1e-11)


def test_levels_are_those_of_plain_numpy(make_case):
    """Of every reading, the unperturbed one, too."""
    case = make_case(SOFTMAX, ("tanh", 1))
    readout = Readout(noise=0.02, repeats=2, bits=6, span=(0.0, 3.0), seed=1)
    size, eps = case.network._theta.size, 0.2
    weights, layers, loss, x, y = widened(case)
    theta = naive.flatten(weights)

    def read(value, number):
        noisy = [float(value) + 0.02 * naive.counted_normals(1, 4, 2 * number + k, 0, 1)[0] for k in range(2)]
        return np.mean([np.round(np.clip(v, 0, 3) / 3 * 63) / 63 * 3 for v in noisy])

    def mean_loss(at):
        return naive.losses(naive.shape_like(at, weights), layers, loss, x, y).mean()

    drawn = naive.step_directions("rademacher", 0, 0, 1, size, False)[0]
    change = read(mean_loss(theta + eps * drawn), 1) - read(mean_loss(theta), 0)
    found = flat(case.gradient(fastnn.RandomDirections(1, eps, scheme="forward"), readout=readout))
    np.testing.assert_allclose(found, change / eps * drawn, atol=1e-12)
    still = read(mean_loss(theta), 0)
    each = [(read(mean_loss(theta + eps * e), 1 + k) - still) / eps for k, e in enumerate(np.eye(size))]
    found = flat(case.gradient(fastnn.Perturbation(eps, evaluate="direct"), readout=readout))
    np.testing.assert_allclose(found, each, atol=1e-12)
    # A sample that does not count has no loss to be read; the others' are those of its own.
    method = fastnn.NodePerturbation(eps, layers="each")
    found = case.gradient(method, readout=readout, sample_weight=[1.0, 0.0, 1.0, 1.0, 1.0])
    assert np.isfinite(flat(found)).all()


@pytest.mark.late(kept=2)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_more_weights_than_a_part(dtype):
    """Directions, noise and steps are made in parts of 1,024; 1,323 weights leave half a part and half a word."""
    network = fastnn.mlp(40, 30, 3, seed=0, dtype=dtype)
    x, y = RNG.normal(size=(5, 40)).astype(dtype), RNG.normal(size=(5, 3)).astype(dtype)
    exact = [g.astype(float) for g in fastnn.gradient(network, x, y, method=fastnn.Backprop())]
    size, eps = network._theta.size, float(np.finfo(dtype).eps)
    before = flat(network.weights)
    for kind in ("rademacher", "gaussian"):
        method = fastnn.ForwardGradient(2, directions=kind, seed=3)
        found = fastnn.gradient(network, x, y, method=method)
        scale = 3.0 * np.abs(flat(exact)).sum()
        assert is_near(found, naive.projected(exact, kind, 3, 0, 2), dtype, scale)
        network._theta[:] = before
        fastnn.Trainer(network, gradient=method, optimizer=fastnn.SGD(0.01), batch_size=None).fit(x, y, 1)
        assert is_near(flat(network.weights) - before, -0.01 * flat(found), dtype, 1.0)  # weights are below 1
        network._theta[:] = before
    method, n = fastnn.Perturbation(0.1), naive.counted_noise(READOUT.seed, 4, 0, 0, size)
    noise = (READOUT.noise / math.sqrt(READOUT.repeats) * n - noise_of(READOUT, 0, 1)) / 0.1
    noisy = flat(fastnn.gradient(network, x, y, method=method, readout=READOUT))
    found = noisy - flat(fastnn.gradient(network, x, y, method=method))
    # As above, and the roundings of a sum of three.
    largest = np.abs(noise).max() + np.abs(noisy).max()
    assert np.abs(found - noise).max() <= (5 * float(np.finfo(np.float32).eps) + 3 * eps) * largest
    fastnn.Trainer(network, gradient=method, readout=READOUT, optimizer=fastnn.SGD(0.01), batch_size=None).fit(x, y, 1)
    assert is_near(flat(network.weights) - before, -0.01 * noisy, dtype, 1.0)


@pytest.mark.late
@pytest.mark.parametrize("repeats", [1, 4])
def test_law_of_noise(make_case, repeats):
    """Form 12, for every way to read a loss; differences share the reading at the weights."""
    case = make_case(("squared_error", "identity"), ("identity", 0))
    s, c, q = 0.3, 0.1, 2
    variance = s**2 / c**2 / repeats

    def noisy(method):
        readouts = (Readout(noise=s, repeats=repeats, seed=seed) for seed in range(N))
        exact = flat(case.gradient(method))
        return np.array([flat(case.gradient(method, readout=readout)) - exact for readout in readouts])

    each = noisy(fastnn.Perturbation(c))
    assert is_mean(np.square(each), 2 * variance)
    assert is_mean(each[:, 0] * each[:, 5], variance)
    assert is_mean(np.square(noisy(fastnn.Perturbation(c, "central"))), variance / 2)
    assert is_mean(np.square(noisy(fastnn.RandomDirections(q, c))), variance / (2 * q))
    assert is_mean(np.square(noisy(fastnn.RandomDirections(1, c, scheme="forward"))), 2 * variance)
    biases = noisy(fastnn.NodePerturbation(c))[:, -3:]
    assert is_mean(np.square(biases), 2 * variance / len(case.x))


def test_noise_does_not_depend_on_chunks_or_blocks(chunks, monkeypatch, make_case):
    methods = [
        fastnn.Perturbation(0.1, fraction=0.5),
        fastnn.Perturbation(0.1, "central"),
        fastnn.RandomDirections(3, 0.1),
        fastnn.NodePerturbation(0.1),
    ]
    coarse = Readout(noise=0.1, bits=8, span=(0.0, 4.0))
    for method in methods:
        found = {}
        for readout in (READOUT, coarse)[: 1 + (method.scheme != "central" or not hasattr(method, "fraction"))]:
            for n_chunks in (1, 2, 3):
                chunks(n_chunks)
                case = make_case(SOFTMAX, ("tanh", 2), n_samples=11)
                options = {"gradient": method, "readout": readout, "batch_size": 4}
                fastnn.Trainer(case.network, loss=case.loss, **options).fit(case.x, case.y, 2)
                found[n_chunks] = flat(case.network.weights)
            np.testing.assert_array_equal(found[1], found[2])
            np.testing.assert_array_equal(found[1], found[3])
            case = make_case(SOFTMAX, ("tanh", 2), n_samples=11)
            whole = case.gradient(method, readout=readout)
            with monkeypatch.context() as patch:
                patch.setattr("fastnn._engine.workspace.BUDGET", 4 * 8 * 600)
                blocked = case.gradient(method, readout=readout)
            assert is_near(blocked, whole, "float64", len(flat(whole)) * np.abs(flat(whole)).max())


def test_a_fit_with_a_readout_is_resumed(tmp_path, make_case):
    path = tmp_path / "run.safetensors"
    for method in (fastnn.Perturbation(fraction=(0.5, 1.0), redraw=2, rescale=True), fastnn.NodePerturbation()):
        case = make_case(SOFTMAX, ("tanh", 1))
        options = {"loss": case.loss, "gradient": method, "readout": READOUT, "optimizer": fastnn.SGD(0.1, sign=True)}
        trainer = fastnn.Trainer(case.network, batch_size=2, **options)
        trainer.fit(case.x, case.y, 2)
        trainer.save(path)
        trainer.fit(case.x, case.y, 2)
        other = fastnn.Trainer.resume(path)
        assert (other.readout, other.gradient, other.optimizer) == (READOUT, method, options["optimizer"])
        other.fit(case.x, case.y, 2)
        np.testing.assert_array_equal(flat(other.network.weights), flat(case.network.weights))


def test_fractions_of_grasp(make_case):
    """Those of the exact scores, which many directions and a small nudge come near to."""
    case = make_case(SOFTMAX, ("tanh", 2), n_samples=8)
    before = flat(case.network.weights)
    fractions = fastnn.grasp(case.network, case.x, case.y, loss=case.loss, fraction=0.4, q=64)
    np.testing.assert_array_equal(flat(case.network.weights), before)
    sizes = [w.size + b.size for w, b in zip(case.network.weights[::2], case.network.weights[1::2], strict=True)]
    counts = [share * size for share, size in zip(fractions, sizes, strict=True)]
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    assert abs(sum(counts) - 0.4 * sum(sizes)) <= 3  # a layer has one at least
    assert min(counts) >= 1
    assert fastnn.grasp(case.network, case.x, case.y, loss=case.loss, fraction=1.0, q=2) == (1.0, 1.0, 1.0)
    assert fastnn.Perturbation(fraction=fractions).queries(sizes) == round(sum(counts)) + 1
    still = fastnn.mlp(2, 2, 1, hidden="relu", seed=0)
    still.weights = [0 * w for w in still.weights]
    assert len(fastnn.grasp(still, [[0.0, 0.0]], [0.0], fraction=0.5, q=2)) == 2  # no gradient to go along


METHODS = [
    fastnn.Perturbation(1e-3, fraction=0.5, redraw=2),
    *(fastnn.RandomDirections(2, 1e-3, kind, "forward" if kind == "walsh" else "central", seed=3) for kind in KINDS),
    fastnn.RandomDirections(5, 1e-2, shaping="ranks", scheme="forward"),
    fastnn.NodePerturbation(1e-3, "gaussian", "each", "central", seed=1),
    fastnn.NodePerturbation(),
    fastnn.ForwardGradient(2, directions="sphere"),
    fastnn.ForwardGradient(3, "units", "gaussian"),
]


def estimate(case, method, weights, step, first, x, y):
    """Return the naive estimate of a step, for a batch that begins at place `first` of the samples' order."""
    weights = [w.astype(np.longdouble) for w in weights]
    samples = case.activations, case.loss, x.astype(np.longdouble), y.astype(np.longdouble)
    if isinstance(method, fastnn.Perturbation):
        whole, _ = naive.differences(weights, *samples, eps=method.eps)
        return naive.shape_like(flat(whole) * masked(case, method, (method.fraction,) * 2, step), weights)
    if isinstance(method, fastnn.RandomDirections):
        options = method.q, method.eps, method.scheme, method.shaping
        return naive.along_directions(weights, *samples, method.directions, method.seed, step, *options)
    sizes = [len(b) for b in weights[1::2]]
    places = np.arange(first, first + len(x))
    if isinstance(method, fastnn.NodePerturbation):
        noise = naive.unit_noise(method.noise, method.seed, step, places, sizes)
        return naive.node_perturbation(weights, *samples, noise, method.sigma, method.layers, method.scheme)
    if method.of == "weights":
        exact, _ = naive.differences(weights, *samples, eps=1e-6, scheme="central")
        return naive.projected(exact, method.directions, method.seed, step, method.q)
    total = 0
    for index in range(method.q):
        noise = naive.unit_noise(method.directions, method.seed, step, places * method.q + index, sizes)
        total = total + flat(naive.node_perturbation(weights, *samples, noise, 1e-6, scheme="central")) / method.q
    return naive.shape_like(total, weights)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("optimizer", [fastnn.SGD(0.05), fastnn.SGD(0.05, 0.9, weight_decay=0.1)], ids=repr)
def test_epochs_are_those_of_plain_numpy(make_case, method, optimizer):
    """Each step draws anew, and batches of an epoch their own noise. The differences of exact slopes are to 1e-12."""
    case = make_case(SOFTMAX, ("tanh", 1), n_samples=7)
    weights = [w.astype(np.longdouble) for w in case.network.weights]
    moments = [[0 * w for w in weights]]
    step = 0
    for _ in range(3):
        for first in (0, 3, 6):
            x, y = case.x[first : first + 3], case.y[first : first + 3]
            gradient = estimate(case, method, weights, step, first, x, y)
            rule = naive.OPTIMIZERS["momentum" if optimizer.momentum else "sgd"]
            rates = [optimizer.momentum] * bool(optimizer.momentum)
            step += 1
            weights, moments = rule(weights, gradient, moments, step, optimizer.lr, optimizer.weight_decay, *rates)
    trainer = fastnn.Trainer(
        case.network, loss=case.loss, gradient=method, optimizer=optimizer, batch_size=3, shuffle=False
    )
    trainer.fit(case.x, case.y, 3)
    # Nine steps, each of which may double what those before have gathered.
    assert is_near(case.network.weights, weights, "float64", 1.0, 1e-9)


@pytest.mark.late(kept=5)
@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_same_bits_for_any_number_of_chunks_and_weights_stay(chunks, method, dtype):
    x, y = RNG.normal(size=(19, 7)), RNG.normal(size=(19, 3))
    network = fastnn.mlp(7, 20, 5, 3, hidden="tanh", seed=1, dtype=dtype)
    before = [w.copy() for w in network.weights]
    found, trained = [], []
    for n_chunks in (1, 2, 3):
        chunks(n_chunks)
        found.append(flat(fastnn.gradient(network, x, y, method=method)))
        pupil = fastnn.mlp(7, 20, 5, 3, hidden="tanh", seed=1, dtype=dtype)
        fastnn.Trainer(pupil, gradient=method, optimizer=fastnn.Adam(0.01), batch_size=8).fit(x, y, 2)
        trained.append(flat(pupil.weights))
    for other in (1, 2):
        np.testing.assert_array_equal(found[other], found[0])
        np.testing.assert_array_equal(trained[other], trained[0])
    assert all((now == then).all() for now, then in zip(network.weights, before, strict=True))
    fastnn.Trainer(network, gradient=method, optimizer=fastnn.SGD(0.0), batch_size=8).fit(x, y, 2)
    assert all((now == then).all() for now, then in zip(network.weights, before, strict=True))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_blocks_of_samples_add_up(monkeypatch, make_case, method):
    """The same terms in another order, one rounding a sample; ranks of the whole batch's readings."""
    case = make_case(HEADS[0], ("tanh", 2), n_samples=11)
    whole = case.gradient(method)
    with monkeypatch.context() as patch:
        patch.setattr("fastnn._engine.workspace.BUDGET", 4 * 8 * 600)
        blocked = case.gradient(method)
        recipe = make_recipe(case.network, method)
        work = make_work(case.network._layout, 11, method.method, case.network.dtype, 1, recipe)
    assert work.measured.shape[1] < 11
    assert is_near(blocked, whole, "float64", len(flat(whole)) * np.abs(flat(whole)).max())


def test_more_directions_than_are_carried_together(chunks, make_case):
    case = make_case(SOFTMAX, ("tanh", 1))
    wanted = naive.along_directions(*widened(case), "rademacher", 0, 0, 100, 1e-3)
    for n_chunks in (1, 2):
        chunks(n_chunks)
        assert is_near(case.gradient(fastnn.RandomDirections(100)), wanted, "float64", 1.0)


@pytest.mark.late
@pytest.mark.parametrize("dtype", STEM_DTYPES)
@pytest.mark.parametrize("stack", ["conv", "overlapping", "deep", "mixed", "none", "flat"])
def test_layers_below_the_dense_ones(chunks, stack, dtype):
    """Down there values are subtracted, in float64: to their rounding over eps."""
    case = test_layers.Case(stack, dtype=dtype)
    for q, eps, kind, scheme in ((3, 1e-3, "rademacher", "central"), (40, 0.1, "gaussian", "forward")):
        wanted = naive.along_directions(*widened(case), kind, 2, 0, q, eps, scheme)
        size = max(1.0, np.abs(flat(wanted)).max())
        method = fastnn.RandomDirections(q, eps, kind, scheme, seed=2)
        found = []
        for n_chunks in (1, 2):
            chunks(n_chunks)
            found.append(case.gradient(method))
            assert is_near(found[-1], wanted, dtype, q * size, 1e-13 * size / eps)
        np.testing.assert_array_equal(flat(found[0]), flat(found[1]))
    exact = [g.astype(float) for g in case.gradient(fastnn.Backprop())]
    found = case.gradient(fastnn.ForwardGradient(2))
    assert is_near(found, naive.projected(exact, "rademacher", 0, 0, 2), dtype, np.abs(flat(exact)).sum())


def noise_below(case, kind, seed, q=1, index=0):
    """Return the noise of all a sample's sums, those of shared layers at every place and step."""
    weights, layers, _, x, _ = widened(case)
    places = [place * q + index for place in range(len(x))]
    return naive.unit_noise(kind, seed, 0, places, naive.count_sums(weights, layers, x))


@pytest.mark.late
@pytest.mark.parametrize("dtype", STEM_DTYPES)
@pytest.mark.parametrize("stack", NODE_STACKS)
def test_units_below_the_dense_layers(chunks, stack, dtype):
    """Values are subtracted down there, as above. Exact slopes are what central differences tend to, to sigma**2."""
    case, seed = test_layers.Case(stack, dtype=dtype), 5
    for kind, layers, scheme in (
        ("rademacher", "together", "forward"),
        ("gaussian", "each", "central"),
        ("sphere", "each", "forward"),
    ):
        wanted = naive.node_perturbation(*widened(case), noise_below(case, kind, seed), 0.01, layers, scheme)
        size = max(1.0, np.abs(flat(wanted)).max())
        found = []
        for n_chunks in (1, 2):
            chunks(n_chunks)
            found.append(case.gradient(fastnn.NodePerturbation(0.01, kind, layers, scheme, seed)))
            assert is_near(found[-1], wanted, dtype, 10 * size, 1e-13 * size / 0.01)
        np.testing.assert_array_equal(flat(found[0]), flat(found[1]))
    wanted = 0
    for index in range(2):
        noise = noise_below(case, "gaussian", seed, 2, index)
        wanted = wanted + flat(naive.node_perturbation(*widened(case), noise, 1e-6, scheme="central")) / 2
    size = max(1.0, np.abs(wanted).max())
    found = []
    for n_chunks in (1, 2):
        chunks(n_chunks)
        found.append(case.gradient(fastnn.ForwardGradient(2, "units", "gaussian", seed)))
        assert is_near(found[-1], [wanted], dtype, 10 * size, 1e-9 * size)
    np.testing.assert_array_equal(flat(found[0]), flat(found[1]))


@pytest.mark.late
@pytest.mark.parametrize("stack", ["overlapping", "caption"])
def test_mean_of_estimates_by_units_below(stack):
    """Every weight's slope comes through units that have noise, and through no others."""
    case = test_layers.Case(stack)
    exact = flat(case.gradient(fastnn.Backprop()))
    for method in (fastnn.ForwardGradient(1, "units", "gaussian"), fastnn.NodePerturbation(1e-7, scheme="central")):
        found = draws(case, method)
        varies = found.std(axis=0) > 1e-6  # the others are those of rectifiers that stay off
        assert is_mean(found[:, varies], exact[varies])
        np.testing.assert_allclose(found[0, ~varies], exact[~varies], atol=1e-6)


@pytest.mark.late
def test_noise_of_readings_by_units_below(monkeypatch):
    """A sample's reading is of the sum of its steps' losses; a layer by itself has readings of its own."""
    case = test_layers.Case("every", n_samples=5)
    weights, layers, _, x, _ = widened(case)
    inputs = [x, *naive.forward(weights, layers, x)[1]]
    noise, readout = noise_below(case, "rademacher", 0), Readout(noise=0.3, repeats=3, seed=4)
    read = np.array([[noise_of(readout, 3 * k + r)[0] for r in range(3)] for k in range(5)])
    wanted = []
    for layer in range(2):
        slopes = (read[:, 1 + layer] - read[:, 0]) / 0.1
        n_arrays, start = (3, 0) if layer == 0 else (2, 3)
        delta = slopes[:, None] * noise[layer] / 5
        wanted += naive.with_sums(layers[layer], weights[start : start + n_arrays], inputs[layer], delta)
    method = fastnn.NodePerturbation(0.1, layers="each")
    exact = flat(case.gradient(method))
    found = flat(case.gradient(method, readout=readout))
    np.testing.assert_allclose(found - exact, flat(wanted), rtol=1e-11, atol=1e-11)
    with monkeypatch.context() as patch:
        patch.setattr("fastnn._engine.workspace.BUDGET", 4 * 8 * 600)
        blocked = flat(case.gradient(method, readout=readout))
        recipe = make_recipe(case.network, method)
        work = make_work(case.network._layout, 5, method.method, case.network.dtype, 1, recipe)
    assert work.measured.shape[1] < 5 * 4
    assert is_near(blocked, found, "float64", len(found) * np.abs(found).max())


@pytest.mark.late
def test_training_over_images(chunks):
    """Steps of all kinds of estimates that layers below dense ones take, with the optimiser's own share."""
    for method in (
        fastnn.RandomDirections(2),
        fastnn.ForwardGradient(2),
        fastnn.NodePerturbation(),
        fastnn.ForwardGradient(2, "units"),
    ):
        trained = []
        for n_chunks in (1, 2):
            chunks(n_chunks)
            case = test_layers.Case("deep", n_samples=5)
            before = flat(case.network.weights)
            trainer = fastnn.Trainer(
                case.network, loss=case.loss, gradient=method, optimizer=fastnn.AdamW(), batch_size=2
            )
            trainer.fit(case.x, case.y, 2)
            trained.append(flat(case.network.weights))
            assert (trained[-1] != before).all()
        np.testing.assert_array_equal(trained[0], trained[1])


@pytest.mark.late
def test_sequences(chunks):
    """Dense layers above see each step of a sequence as a sample of their own."""
    layers = [fastnn.RNN(3, "tanh", return_sequences=True), fastnn.Dense(2, "softmax")]
    network = fastnn.Network((4, 2), layers, seed=0)
    x, y = RNG.normal(size=(5, 4, 2)), RNG.integers(0, 2, (5, 4))
    options = {"loss": "categorical_cross_entropy"}
    exact = flat(fastnn.gradient(network, x, y, **options, method=fastnn.Backprop()))
    n_rows = 1 << (exact.size - 1).bit_length()
    found = []
    for n_chunks in (1, 2):
        chunks(n_chunks)
        method = fastnn.RandomDirections(n_rows, 1e-5, "walsh")
        found.append(flat(fastnn.gradient(network, x, y, **options, method=method)))
        # Of third order in what all weights at once are nudged by; and values subtracted over eps.
        np.testing.assert_allclose(found[-1], exact, atol=1e-8)
        method = fastnn.ForwardGradient(n_rows, directions="walsh")
        np.testing.assert_allclose(flat(fastnn.gradient(network, x, y, **options, method=method)), exact, atol=1e-13)
    np.testing.assert_array_equal(*found)


@pytest.mark.late(kept=4)
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_devices_are_moved_along_estimates(make_case, method):
    """Weights end on levels; a device whose gain is 1 and that has no noise sees the same estimate as a weight."""
    case = make_case(SOFTMAX, ("tanh", 1))
    case.network.weights = [np.clip(w, -1, 1) for w in case.network.weights]
    options = {"loss": case.loss, "gradient": method, "batch_size": None, "shuffle": False}
    plain = fastnn.mlp(3, 4, 3, hidden="tanh", output="softmax")
    plain.weights = case.network.weights
    wide = fastnn.hardware.Devices(low=-8.0, high=8.0)
    fastnn.Trainer(plain, optimizer=fastnn.SGD(1e-3), **options).fit(case.x, case.y, 2)
    fastnn.Trainer(case.network, optimizer=fastnn.SGD(1e-3), devices=wide, **options).fit(case.x, case.y, 2)
    np.testing.assert_allclose(flat(case.network.weights), flat(plain.weights), rtol=0, atol=1e-15)
    coarse = fastnn.hardware.Devices(bits=8, low=-2.0, high=2.0, rounding="stochastic")
    fastnn.Trainer(case.network, optimizer=fastnn.SGD(0.1), devices=coarse, **options).fit(case.x, case.y, 2)
    levels = (flat(case.network.weights) + 2) / coarse.step
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-9)


def test_whole_codes_are_exact(make_case):
    """Forms 6 and 7: all rows leave nothing of a slope out, and of a quadratic loss no difference."""
    case = make_case(("squared_error", "identity"), ("identity", 0))
    n_rows = 1 << (case.network._theta.size - 1).bit_length()
    exact = case.gradient(fastnn.Backprop())
    for method in (
        fastnn.ForwardGradient(n_rows, directions="walsh"),
        fastnn.ForwardGradient(len(flat(exact)), directions="coordinate"),
        fastnn.RandomDirections(n_rows, 0.5, "walsh"),
        fastnn.RandomDirections(len(flat(exact)), 0.5, "coordinate"),
    ):
        # A change of either reading is up to the curvature of all weights at once: some 20 here, over the nudge.
        assert is_near(case.gradient(method), exact, "float64", 40.0)


@pytest.mark.late
@pytest.mark.parametrize(("kind", "extra"), [("gaussian", 1), ("rademacher", -1), ("sphere", -1)])
def test_mean_and_mean_square_of_estimates_of_weights(make_case, kind, extra):
    """Forms 1 and 2, on a loss that is quadratic in the weights; central differences are right at any eps."""
    case = make_case(("squared_error", "identity"), ("identity", 0))
    exact = flat(case.gradient(fastnn.Backprop()))
    for method, q in (
        (fastnn.RandomDirections(1, 0.5, kind), 1),
        (fastnn.RandomDirections(4, 1e-3, kind), 4),
        (fastnn.ForwardGradient(2, directions=kind), 2),
    ):
        found = draws(case, method)
        assert is_mean(found, exact)
        assert is_mean(np.square(found).sum(axis=1) / (exact @ exact), 1 + (exact.size + extra) / q)


@pytest.mark.late
@pytest.mark.parametrize(("kind", "extra"), [("gaussian", 1), ("rademacher", -1)])
def test_what_node_perturbation_adds(make_case, kind, extra):
    """Form 11: m outputs count, not the weights; x here has the one that stands for the bias."""
    case = make_case(("squared_error", "identity"), ("identity", 0))
    exact = flat(case.gradient(fastnn.Backprop()))
    m, n = case.y.shape[1], len(case.x)
    errors = 2 * (case.network.predict(case.x) - case.y)
    inputs = np.square(case.x).sum(axis=1) + 1
    added = (m + extra) / n**2 * (np.square(errors).sum(axis=1) * inputs).sum()
    for method in (
        fastnn.NodePerturbation(1e-6, kind),
        fastnn.NodePerturbation(0.3, kind, "each", "central"),
        fastnn.ForwardGradient(1, "units", kind),
    ):
        found = draws(case, method)
        assert is_mean(found, exact)
        assert is_mean(np.square(found).sum(axis=1), exact @ exact + added)


@pytest.mark.late
def test_some_coordinates(make_case):
    """Form 14, as directions and as a fraction."""
    case = make_case(("squared_error", "identity"), ("identity", 0))
    exact = flat(case.gradient(fastnn.Backprop()))
    found = draws(case, fastnn.RandomDirections(4, 1e-3, "coordinate"))
    assert is_mean(found, exact)
    assert is_mean(np.square(found).sum(axis=1) / (exact @ exact), exact.size / 4)
    assert (np.count_nonzero(found, axis=1) <= 4).all()
    found = draws(case, fastnn.Perturbation(1e-7, "central", fraction=0.25, rescale=True))
    assert is_mean(found, exact)
    assert is_mean(np.square(found).sum(axis=1) / (exact @ exact), 4.0)


def test_float32_is_as_right_at_small_nudges():
    """Where losses of float32 subtracted are noise: at 1e-6 their rounding is as large as what is sought."""
    wide = fastnn.mlp(6, 9, 3, hidden="tanh", seed=0)
    narrow = fastnn.mlp(6, 9, 3, hidden="tanh", seed=0, dtype="float32")
    wide.weights = [w.astype(float) for w in narrow.weights]
    x, y = RNG.normal(size=(8, 6)).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32)
    for method in (fastnn.RandomDirections(4, 1e-8), fastnn.NodePerturbation(1e-8)):
        theirs = flat(fastnn.gradient(wide, x, y, method=method))
        ours = flat(fastnn.gradient(narrow, x, y, method=method))
        assert np.abs(ours - theirs).max() <= ROUNDINGS * np.finfo(np.float32).eps * np.abs(theirs).max()


@pytest.mark.skipif(JIT_DISABLED, reason="half a minute in plain Python")
def test_it_learns():
    """Half of the loss is gone, by every estimate."""
    x = np.random.default_rng(1).normal(size=(64, 3))
    y = np.tanh(x @ [[1.0], [-1.0], [0.5]])
    for method in (
        fastnn.RandomDirections(4),
        fastnn.RandomDirections(8, directions="walsh", scheme="forward"),
        fastnn.RandomDirections(4, 0.02, "gaussian", shaping="ranks"),
        fastnn.NodePerturbation(),
        fastnn.ForwardGradient(4),
        fastnn.ForwardGradient(1, "units"),
    ):
        network = fastnn.mlp(3, 5, 1, hidden="tanh", seed=0)
        trainer = fastnn.Trainer(network, gradient=method, optimizer=fastnn.Adam(0.02), batch_size=16)
        history = trainer.fit(x, y, 30)
        assert history.loss[-1] < 0.5 * history.loss[0]


def test_what_a_step_costs():
    network = fastnn.mlp(4, 3, 2)
    for method, n_queries in (
        (fastnn.Perturbation(), 24),
        (fastnn.Perturbation(fraction=(0.2, 0.5)), 8),
        (fastnn.Perturbation(1e-6, "central", fraction=0.5), 24),
        (fastnn.RandomDirections(3), 6),
        (fastnn.RandomDirections(3, scheme="forward"), 4),
        (fastnn.NodePerturbation(), 2),
        (fastnn.NodePerturbation(scheme="central"), 2),
        (fastnn.NodePerturbation(layers="each"), 3),
        (fastnn.NodePerturbation(layers="each", scheme="central"), 4),
        (fastnn.ForwardGradient(), None),
        (fastnn.Backprop(), None),
    ):
        assert count_queries(network, method) == n_queries
        assert count_queries(network, method, Readout(repeats=3)) == (n_queries and 3 * n_queries)
    assert fastnn.Perturbation(fraction=0.5).queries(24) == 13
    assert fastnn.NodePerturbation(layers="each").queries(24) == 2


@pytest.mark.skipif(not JIT_DISABLED, reason="Python cannot call compiled units")
@pytest.mark.parametrize("stack", [None, "conv"])
def test_units_that_can_take_minutes_look_up(monkeypatch, make_case, stack):
    case = test_layers.Case(stack) if stack else make_case(SOFTMAX, ("tanh", 1))
    method = fastnn.RandomDirections()
    module = MODULES[make_recipe(case.network, method).estimator]
    unit = (module.STEM_UNITS if stack else module.UNITS)["READ"]
    real, seen = unit.function, []

    def run(packed, *arguments):
        (*_, work), (scheme, _) = packed[0], packed[2]
        work.stop[0] = 1
        scheme.changes[:] = np.nan
        real(packed, *arguments)
        seen.append(bool(np.isnan(scheme.changes).all()))

    monkeypatch.setattr(program, "_programs", {})
    monkeypatch.setattr(unit, "function", run)
    case.gradient(method)
    assert seen == [True]


NETWORK = fastnn.mlp(2, 3, 1)
COARSE = Readout(bits=4, span=(0.0, 1.0))
BAD = [
    (lambda: fastnn.NodePerturbation(0.0), ValueError, "sigma must be a finite number > 0"),
    (lambda: fastnn.NodePerturbation(noise="uniform"), ValueError, "noise must be one of 'rademacher', 'gaussian'"),
    (lambda: fastnn.NodePerturbation(layers="all"), ValueError, "layers must be one of 'together', 'each'"),
    (lambda: fastnn.NodePerturbation(scheme="both"), ValueError, "scheme must be one of"),
    (lambda: fastnn.NodePerturbation(seed=-1), ValueError, "seed must be an integer >= 0"),
    (lambda: fastnn.ForwardGradient(0), ValueError, "q must be an integer >= 1"),
    (lambda: fastnn.ForwardGradient(of="unit"), ValueError, "did you mean 'units'"),
    (lambda: fastnn.ForwardGradient(directions="gauss"), ValueError, "did you mean 'gaussian'"),
    (lambda: fastnn.ForwardGradient(of="units", directions="walsh"), ValueError, 'of="units" takes directions'),
    (lambda: fastnn.ForwardGradient(seed=1.5), TypeError, "seed must be an integer"),
    (
        lambda: fastnn.Trainer(fastnn.mlp(2, 1), gradient=fastnn.RandomDirections(5, directions="walsh")),
        ValueError,
        "walsh directions of 3 weights are 4, got q=5",
    ),
    (
        lambda: fastnn.gradient(
            fastnn.mlp(2, 1), [[1, 2]], [1], method=fastnn.ForwardGradient(4, directions="coordinate")
        ),
        ValueError,
        "coordinate directions of 3 weights are 3, got q=4",
    ),
    (
        lambda: fastnn.Trainer(fastnn.mlp(1024, 1024, 1), gradient=fastnn.RandomDirections(directions="walsh")),
        ValueError,
        "takes up to 1,048,576 weights, got 1,050,625",
    ),
    (lambda: fastnn.Perturbation(fraction=0.0), ValueError, "fraction must be a finite number > 0 and <= 1"),
    (lambda: fastnn.Perturbation(fraction=(0.5, 1.5)), ValueError, r"fraction\[1\] must be"),
    (lambda: fastnn.Perturbation(redraw=0), ValueError, "redraw must be an integer >= 1"),
    (lambda: fastnn.Perturbation(rescale=1), TypeError, "rescale must be True or False"),
    (
        lambda: fastnn.Trainer(NETWORK, gradient=fastnn.Perturbation(fraction=(0.5, 0.5, 0.5))),
        ValueError,
        "fraction has 3 numbers, one for each layer with weights, and those are 2",
    ),
    (
        lambda: fastnn.minimize(lambda w: w @ w, [1.0, 1.0], gradient=fastnn.Perturbation(fraction=0.5)),
        ValueError,
        "fraction is for networks",
    ),
    (lambda: fastnn.grasp(NETWORK, [[1, 2]], [1], fraction=2.0), ValueError, "fraction must be a finite number > 0"),
    (lambda: fastnn.grasp("network", [[1, 2]], [1], fraction=1.0), TypeError, "network must be a fastnn.Network"),
    (lambda: fastnn.SGD(0.1, 0.9, sign=True), ValueError, "sign takes no momentum, got momentum=0.9"),
    (lambda: fastnn.SGD(0.1, sign=1), TypeError, "sign must be True or False"),
    (lambda: fastnn.Trainer(NETWORK, readout=0.1), TypeError, "readout must be a fastnn.hardware.Readout, got 0.1"),
    (
        lambda: fastnn.Trainer(NETWORK, gradient=fastnn.Backprop(), readout=Readout(0.1)),
        ValueError,
        "differentiates, and reads no loss",
    ),
    (
        lambda: fastnn.gradient(NETWORK, [[1, 2]], [1], method=fastnn.ForwardGradient(), readout=Readout(0.1)),
        ValueError,
        "differentiates, and reads no loss",
    ),
    (
        lambda: fastnn.Trainer(NETWORK, gradient=fastnn.Perturbation(scheme="central"), readout=COARSE),
        ValueError,
        r'use RandomDirections\(q=13, eps=1e-06, directions="coordinate"\), the same differences reading by reading',
    ),
    (
        lambda: fastnn.Trainer(fastnn.mlp(2, 1), gradient=fastnn.NodePerturbation),
        TypeError,
        r"write NodePerturbation\(...\)",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_all_that_is_left_over(chunks, make_case):
    """Threads for which no samples are left, hidden layers that are straight, and readings without noise."""
    case, method = make_case(SOFTMAX, ("identity", 2)), fastnn.RandomDirections(2)
    wanted = naive.along_directions(*widened(case), "rademacher", 0, 0, 2, 1e-3)
    for n_chunks in (1, 5):
        chunks(n_chunks)
        assert is_near(case.gradient(method), wanted, "float64", 1.0)
    for estimate in (method, fastnn.NodePerturbation(), fastnn.Perturbation()):
        still = case.gradient(estimate, readout=Readout(repeats=3))
        assert is_near(still, case.gradient(estimate), "float64", 1.0)
