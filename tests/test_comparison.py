"""Schemes side by side, against the closed forms that their estimates have; and what a trainer's callback sees."""

import csv
import math
import re

import numpy as np
import pytest

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn.callbacks import Alignment, Callback, CSVLogger
from fastnn.hardware import Readout
from fastnn.training.comparison import align

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
N = 40 if JIT_DISABLED else 400  # estimates by each; plain Python takes milliseconds each
P = 26  # of the network below; 32 rows of a code
SCHEMES = [
    fastnn.Backprop(),
    fastnn.Perturbation(),
    fastnn.Perturbation(scheme="central"),
    fastnn.RandomDirections(),
    fastnn.RandomDirections(5, directions="gaussian"),
    fastnn.RandomDirections(5, directions="sphere", scheme="forward"),
    fastnn.RandomDirections(8, directions="walsh"),
    fastnn.RandomDirections(32, directions="walsh"),
    fastnn.RandomDirections(4, directions="coordinate"),
    fastnn.RandomDirections(5, shaping="sign"),
    fastnn.NodePerturbation(),
    fastnn.NodePerturbation(layers="each"),
    fastnn.ForwardGradient(5),
    fastnn.ForwardGradient(5, of="units"),
]
QUERIES = [math.nan, P + 1, 2 * P, 2, 10, 6, 16, 64, 8, 10, 2, 3, math.nan, math.nan]
SQUARES = [0, 0, 0, P - 1, (P + 1) / 5, (P - 1) / 5, (P - 1) / 8 * 24 / 31, 0, P / 4 - 1]
SQUARES += [math.nan] * 3 + [(P - 1) / 5, math.nan]


def make_network():
    return fastnn.mlp(3, 4, 2, hidden="tanh", seed=0)


@pytest.fixture(scope="module")
def found():
    return fastnn.compare(make_network(), X, Y, methods=SCHEMES, repeats=N)


def test_queries_and_closed_forms(found):
    np.testing.assert_array_equal(found.queries, QUERIES)
    np.testing.assert_allclose(found.expected, np.sqrt(SQUARES), rtol=1e-14)
    assert len(found) == len(SCHEMES)
    assert (found.seconds > 0).all()


def test_deviations_are_those_of_the_closed_forms(found):
    """Of one direction, a normal number squared, whose mean over N is off by sqrt(2 / N) of itself, or a bit more.

    Five times that; of several directions it is less. What is exact is so to the nudge of 1e-6.
    """
    has_form = ~np.isnan(found.expected)
    np.testing.assert_allclose(
        found.deviation[has_form] ** 2, found.expected[has_form] ** 2, rtol=5 * math.sqrt(3 / N), atol=1e-5
    )


def test_estimates_have_the_gradient_for_their_mean(found):
    """The bias is what its own noise leaves of it, but for signs, whose size is another."""
    noise = found.deviation / math.sqrt(N)
    is_sign = np.array(["sign" in name for name in found.methods])
    assert (found.bias[~is_sign] <= 3 * noise[~is_sign] + 1e-5).all()
    assert (found.bias[is_sign] > 0.1).all()


def test_cosines(found):
    """That of one direction has a mean by closed form, about; its standard error is that of the sample."""
    one = found.methods.index("RandomDirections()")
    wanted = math.gamma(P / 2) / (math.sqrt(math.pi) * math.gamma((P + 1) / 2))  # of directions on the sphere
    assert abs(found.cosine[one] - wanted) < 5 * found.cosine_error[one] + 0.02
    exact = found.expected == 0
    np.testing.assert_allclose(found.cosine[exact], 1.0, rtol=1e-6)
    assert (found.cosine_error[exact] < 1e-6).all()
    assert (np.abs(found.cosine) <= 1 + 1e-12).all()


def test_noise_of_readings():
    """Noise of s adds s^2 / 2 c^2 an entry to central differences, 2 s^2 / c^2 to others, over q; repeats divide it."""
    methods = [
        *(fastnn.Perturbation(0.1, scheme) for scheme in ("forward", "central")),
        *(fastnn.RandomDirections(4, 0.1, kind, "central") for kind in ("rademacher", "coordinate")),
        fastnn.NodePerturbation(),
        fastnn.Backprop(),
    ]
    readout = Readout(0.3, repeats=2)
    found = fastnn.compare(make_network(), X, Y, methods=methods, repeats=N, readout=readout)
    np.testing.assert_array_equal(found.queries, [2 * (P + 1), 4 * P, 16, 16, 4, math.nan])
    gradient = fastnn.gradient(make_network(), X, Y, method=fastnn.Backprop())
    size = np.linalg.norm(np.concatenate([g.ravel() for g in gradient]))
    noise = 0.3**2 / 2 / 0.1**2 / size**2
    squares = [2 * P * noise, 0.5 * P * noise, (P - 1) / 4 + 0.5 * P * noise / 4, P / 4 - 1 + 0.5 * P**2 / 4 * noise]
    np.testing.assert_allclose(found.expected**2, [*squares, math.nan, 0.0], rtol=1e-12)
    np.testing.assert_allclose(found.deviation[:4] ** 2, squares, rtol=5 * math.sqrt(3 / N))
    assert math.isnan(
        fastnn.compare(
            make_network(), X, Y, methods=methods[:1], repeats=2, readout=Readout(bits=8, span=(0.0, 9.0))
        ).expected[0]
    )
    sparse = fastnn.compare(make_network(), X, Y, methods=[fastnn.Perturbation(fraction=0.5)], repeats=2)
    assert math.isnan(sparse.expected[0])


def test_a_large_nudge_has_a_bias():
    found = fastnn.compare(make_network(), X, Y, methods=[fastnn.Perturbation(eps) for eps in (1e-3, 1.0)], repeats=2)
    small, large = found.bias
    assert 1e-5 < small < 1e-2 < large
    assert (found.deviation == 0).all()


def test_the_network_stays_and_what_is_drawn_is_another_each_time():
    network = make_network()
    before = network._theta.tobytes()
    loss = {"loss": "huber", "methods": [fastnn.RandomDirections(seed=2**32 - 1)], "repeats": 3}
    one, two = fastnn.compare(network, X, Y, **loss), fastnn.compare(network, X, Y, **loss)
    assert network._theta.tobytes() == before
    assert one.cosine == two.cosine
    assert one.cosine_error > 0


def test_tables(found):
    lines = repr(found).splitlines()
    assert re.fullmatch(r" +queries +ms +cosine +bias +deviation +expected", lines[0])
    assert len(lines) == 1 + len(SCHEMES)
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"Perturbation\(\) +27 +[\d.e-]+ +1.0000 ± 0.0000 +[\d.e-]+ +[\d.e-]+ +0", lines[2])
    assert re.fullmatch(r"Backprop\(\) +[\d.e-]+ +1.0000 ± 0.0000 +0 +0 +0", lines[1])
    html = found._repr_html_()
    assert "Comparison with the gradient" in html
    assert "RandomDirections(q=5, directions=&#x27;gaussian&#x27;)" in html
    assert found.to_dict()["methods"] is found.methods
    assert list(found.to_dict()) == [
        *("methods", "queries", "seconds", "cosine", "cosine_error", "bias", "deviation", "expected")
    ]
    assert repr(fastnn.Perturbation(1e-3, "central")) == "Perturbation(eps=0.001, scheme='central')"


def test_bad_input():
    network = make_network()
    with pytest.raises(TypeError, match="network must be a fastnn.Network"):
        fastnn.compare(3, X, Y, methods=SCHEMES)
    with pytest.raises(ValueError, match="repeats must be an integer >= 2"):
        fastnn.compare(network, X, Y, methods=SCHEMES, repeats=1)
    for methods in (fastnn.Backprop(), []):
        with pytest.raises(TypeError, match="methods must be a list of what fastnn.gradient takes, got"):
            fastnn.compare(network, X, Y, methods=methods)
    with pytest.raises(TypeError, match=r"methods\[1\] must be a fastnn"):
        fastnn.compare(network, X, Y, methods=[fastnn.Backprop(), 3])
    with pytest.raises(ValueError, match="unknown loss|loss must be"):
        fastnn.compare(network, X, Y, methods=SCHEMES, loss="none")
    with pytest.raises(ValueError, match="the gradient is 0 at these samples"):
        fastnn.compare(network, X, network.predict(X), methods=SCHEMES)


def test_alignment_by_hand():
    assert align(np.array([3.0, 0.0]), np.array([3.0, 4.0])) == (0.6, 0.8)
    assert align(np.zeros(2), np.array([3.0, 4.0])) == (0.0, 1.0)
    assert align(np.array([3.0, 4.0]), np.zeros(2)) == (0.0, math.inf)


def make_trainer(gradient=SCHEMES[3], **options):
    options = {"optimizer": fastnn.SGD(0.01), "batch_size": 2, **options}
    return fastnn.Trainer(make_network(), gradient=gradient, **options)


class TestAlignment:
    def test_when_it_is_measured(self, monkeypatch, tmp_path):
        """At the beginning and every so many steps, of the first batch; the metrics have the last one."""
        monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
        alignment, trainer = Alignment(every=4), make_trainer()
        told = []

        class Look(Callback):
            def on_epoch_end(self, trainer, metrics):
                told.append((metrics["cosine"], metrics["noise"]))

        log = tmp_path / "log.csv"
        trainer.fit(X, Y, 4, callbacks=[alignment, Look(), CSVLogger(log)])
        assert alignment.steps.tolist() == [0, 4, 8, 12]
        assert len(set(alignment.cosine)) == 4
        at = [0, 1, 2, 3]  # an epoch has three steps
        assert told == [(alignment.cosine[k], alignment.noise[k]) for k in at]
        with log.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["cosine"]) for row in rows] == [alignment.cosine[k] for k in at]
        trainer.fit(X, Y, 1, callbacks=[alignment])
        assert alignment.steps[0] == 12  # it begins anew
        assert trainer._samples is None

    def test_what_is_measured(self):
        trainer, alignment = make_trainer(fastnn.RandomDirections(3, seed=7)), Alignment()
        truth, estimate = (
            np.concatenate([g.ravel() for g in fastnn.gradient(trainer.network, X[:2], Y[:2], method=method)])
            for method in (fastnn.Backprop(), trainer.gradient)
        )
        trainer.fit(X, Y, 0, callbacks=[alignment])
        assert (alignment.cosine[0], alignment.noise[0]) == align(estimate, truth)
        exact = Alignment()
        make_trainer(fastnn.Perturbation(), batch_size=None).fit(X, Y, 0, callbacks=[exact])
        assert exact.noise[0] < 1e-4

    def test_on_sequences_and_with_weights(self):
        network = fastnn.Network(
            (4, 3), [fastnn.RNN(2, "tanh", return_sequences=True), fastnn.Dense(2, "identity")], seed=0
        )
        alignment = Alignment()
        trainer = fastnn.Trainer(network, gradient=fastnn.Backprop(), batch_size=2)
        rng = np.random.default_rng(0)
        trainer.fit(rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 4, 2)), 1, callbacks=[alignment])
        assert alignment.cosine[0] == pytest.approx(1.0)
        make_trainer(fastnn.Backprop()).fit(X, Y, 1, sample_weight=np.arange(6), callbacks=[alignment])
        assert alignment.cosine[0] == pytest.approx(1.0)

    def test_from_a_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
        whole, path = Alignment(2), tmp_path / "run"
        make_trainer().fit(X, Y, 4, callbacks=[whole])

        class Stop(Callback):
            def on_steps(self, trainer):
                if trainer.n_steps == 5:
                    trainer.save(path)
                    raise OSError

        first, second = Alignment(2), Alignment(2)
        with pytest.raises(OSError, match="^$"):
            make_trainer().fit(X, Y, 4, callbacks=[first, Stop()])
        trainer = fastnn.Trainer.resume(path)
        trainer.fit(X, Y, 4 - trainer.n_epochs, callbacks=[second])
        for name in ("steps", "cosine", "noise"):
            np.testing.assert_array_equal(getattr(second, name), getattr(whole, name))

    @pytest.mark.parametrize(
        "state", [{"steps": 1}, {"steps": np.zeros(2), "cosine": np.zeros(3), "noise": np.zeros(2)}]
    )
    def test_states_of_something_else(self, state):
        with pytest.raises(ValueError, match="cannot go on from its state in the checkpoint"):
            Alignment().restore(make_trainer(), state)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="every must be an integer >= 1"):
            Alignment(0)
        with pytest.raises(TypeError, match="of a loss that is measured nothing knows it"):
            fastnn.minimize(lambda w: 1.0, [0.0], callbacks=[Alignment()])


def test_readings_with_noise():
    """Noise adds s**2 / (2 c**2) to the variance of each entry of central differences; what differentiates has none."""
    methods = [fastnn.Backprop(), fastnn.Perturbation(0.1, "central"), fastnn.ForwardGradient()]
    readout = fastnn.hardware.Readout(0.01, repeats=2)
    found = fastnn.compare(make_network(), X, Y, methods=methods, repeats=N, readout=readout)
    np.testing.assert_array_equal(found.queries, [math.nan, 4 * P, math.nan])
    size = np.linalg.norm(np.concatenate([g.ravel() for g in fastnn.gradient(make_network(), X, Y, method=methods[0])]))
    wanted = P * (0.01**2 / 2) / (2 * 0.1**2) / size**2  # two readings are averaged
    assert found.deviation[0] == 0.0
    # A sum of P squares of independent normal numbers, averaged over N.
    assert abs(found.deviation[1] ** 2 / wanted - 1) < 5 * math.sqrt(2 / (P * N))
    np.testing.assert_allclose(found.expected[1] ** 2, wanted, rtol=1e-12)
    assert found.expected[2] == pytest.approx(math.sqrt(P - 1))
    sparse = fastnn.compare(make_network(), X, Y, methods=[fastnn.Perturbation(fraction=0.5)], repeats=2)
    assert np.isnan(sparse.expected[0])
    with pytest.raises(TypeError, match="readout must be a fastnn.hardware.Readout, got 0.1"):
        fastnn.compare(make_network(), X, Y, methods=[fastnn.Perturbation()], readout=0.1)
