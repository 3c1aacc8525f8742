"""Losses that can only be measured: minimised in one call, asked and told, saved, and gone on with."""

import concurrent.futures
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import naive
import numba
import numpy as np
import pytest

import fastnn
from fastnn._compiler import jit
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._support import files
from fastnn.blackbox import minimizer as module
from fastnn.blackbox import search as rounds
from fastnn.blackbox.reading import Reader
from fastnn.callbacks import Callback, EarlyStopping
from fastnn.hardware import Devices, Readout

START = np.array([0.5, -1.0, 2.0, 0.25, -0.75])
TARGET = np.array([1.0, 0.0, -1.0, 0.5, 0.0])
GOLDEN = Path(__file__).parent / "golden" / "minimizer-1.safetensors"


def bowl(weights):
    return float(np.square(weights - TARGET).sum())


def bowls(points):
    return np.square(points - TARGET).sum(axis=1)


@numba.njit
def jitted_bowl(weights):
    total = 0.0
    for k in range(weights.size):
        total += (weights[k] - 0.5) ** 2
    return total


@numba.njit
def jitted_hole(weights):
    return np.nan if (weights == 0.0).all() else ((weights - 1.0) ** 2).sum()


@numba.njit
def jitted_slope(weights):
    """It fails the more often, the less it is."""
    return np.nan if np.sin(1e6 * weights[0]) > 4.0 * weights[0] - 0.3 else weights[0]


@numba.njit
def writing_bowl(weights):
    weights -= 0.5
    return (weights * weights).sum()


def plain_bowl(weights):
    return jitted_bowl(np.array(weights))


def same(one, two):
    """Two results are the same bit for bit, but for their seconds."""
    for name in ("weights", "last", "loss", "queries", "steps", "failed", "settings"):
        np.testing.assert_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name, column in one.history.items():
        np.testing.assert_array_equal(column, two.history[name], err_msg=name)


SEARCHES = [
    {},
    {"gradient": fastnn.RandomDirections(3, 0.01, "gaussian", "forward"), "optimizer": fastnn.Adam(0.05)},
    {"gradient": fastnn.RandomDirections(4, 0.01, "walsh", "forward"), "optimizer": fastnn.SGD(0.05, 0.5)},
    {"gradient": fastnn.RandomDirections(2, 0.01, "coordinate"), "optimizer": fastnn.SGD(0.05), "measure_every": 3},
    {"gradient": fastnn.RandomDirections(3, 0.01, "sphere", shaping="ranks"), "blocking": 0.1},
    {"optimizer": fastnn.AdamW(0.05)},
    {"gradient": fastnn.Perturbation(0.01), "blocking": "auto", "optimizer": fastnn.SGD(0.1)},
    {"readout": Readout(0.1, repeats=2, bits=10, span=(0.0, 50.0), seed=4), "blocking": "auto", "average": 0.3},
    {"bounds": (-1.0, [2.5, 1.0, 2.0, 2.0, 2.0]), "average": 1.0, "readout": Readout(0.01)},
    {"devices": Devices(6, -3.0, 3.0, stuck=0.3), "average": 0.5},
    {
        "devices": Devices(6, -3.0, 3.0, "stochastic", 0.01, 0.02, 0.1, 0.2, copy=False, seed=7),
        "gradient": fastnn.RandomDirections(3, 0.1, scheme="forward"),
        "optimizer": fastnn.Adam(0.05),
        "readout": Readout(repeats=2),
        "blocking": 0.1,
    },
    {"devices": Devices(write_noise=0.02, read_noise=0.1, low=-3.0, high=3.0), "measure_every": 3},
]


@pytest.mark.parametrize("options", SEARCHES, ids=repr)
class TestSameBits:
    """However the queries are answered."""

    def whole(self, options):
        return fastnn.minimize(bowl, START, queries=300, **options)

    @pytest.mark.late(kept=4)
    def test_at_once(self, options):
        same(
            fastnn.minimize(lambda x: [bowl(p) for p in x], START, queries=300, batched=True, **options),
            self.whole(options),
        )

    def test_by_workers_that_answer_in_any_order(self, options):
        rng = np.random.default_rng(0)

        def scatter(function, queries):
            answers = {}
            for k in rng.permutation(len(queries)):
                answers[k] = function(queries[k])
            return [answers[k] for k in range(len(queries))]

        same(fastnn.minimize(bowl, START, queries=300, workers=scatter, **options), self.whole(options))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            same(fastnn.minimize(bowl, START, queries=300, workers=pool.map, **options), self.whole(options))

    def test_asked_and_told_in_any_order(self, options):
        rng = np.random.default_rng(0)
        minimizer = fastnn.Minimizer(START, queries=300, **options)
        told = []
        while not minimizer.done:
            asked = minimizer.ask()
            assert minimizer.ask() == []
            for k in rng.permutation(len(asked)):
                minimizer.tell(asked[k].index, bowl(asked[k].weights))
                told.append(asked[k].index)
        assert minimizer.ask() == []
        assert sorted(told) == list(range(minimizer.n_queries))
        same(minimizer.result(), self.whole(options))

    def test_saved_after_each_answer(self, options, tmp_path):
        """And gone on with from each of the files."""
        path, told = tmp_path / "search", set()
        minimizer = fastnn.Minimizer(START, queries=300, **options)
        while asked := minimizer.ask():
            for query in reversed(asked):
                minimizer.tell(query.index, bowl(query.weights))
                told.add(query.index)
                if query.index % 11 == 0:
                    minimizer.save(path)
                    left = {query.index for query in fastnn.Minimizer.resume(path).ask()}
                    assert not left & told
                    assert left >= {other.index for other in asked} - told
                    if query.index % 55 == 0:
                        same(fastnn.Minimizer.resume(path).run(bowl), self.whole(options))
        same(minimizer.result(), self.whole(options))

    def test_of_one_that_is_compiled(self, options, monkeypatch):
        monkeypatch.setattr(module, "is_compiled", lambda loss: loss is jitted_bowl)  # also in plain Python
        found = fastnn.minimize(jitted_bowl, START, queries=300, **options)
        same(found, fastnn.minimize(plain_bowl, START, queries=300, **options))
        # In calls of several steps each, and one.
        monkeypatch.setattr(module, "CALL_SECONDS", -1.0)
        same(fastnn.minimize(jitted_bowl, START, queries=300, **options), found)


def test_steps_are_those_of_plain_numpy():
    """Spall's gains with given numbers; 40 steps of a loss of size 10, each right to 1e-15 * 10 / 0.1 * 0.1."""
    spall = fastnn.Spall(a=0.5, c=0.1, A=3.0)
    found = fastnn.minimize(bowl, START, gradient=fastnn.RandomDirections(2), optimizer=spall, queries=160)
    weights = START.copy()
    for k in range(40):
        rate, nudge = 0.5 / (3 + k + 1) ** 0.602, 0.1 / (k + 1) ** 0.101
        drawn = naive.step_directions("rademacher", 0, k, 2, 5, True)
        gradient, losses = naive.estimate(bowl, weights, drawn, nudge)
        (weights,) = naive.sgd([weights], [gradient], rate)
        assert math.isclose(found.history["loss"][k], losses.mean(), rel_tol=1e-12)
        assert math.isclose(found.history["step"][k], np.linalg.norm(rate * gradient), rel_tol=1e-11)
        np.testing.assert_allclose([found.history["rate"][k], found.history["nudge"][k]], [rate, nudge], rtol=1e-15)
    np.testing.assert_allclose(found.weights, weights, atol=1e-12)
    assert found.settings == {"a": 0.5, "A": 3.0, "alpha": 0.602, "c": 0.1, "gamma": 0.101}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"optimizer": fastnn.SGD(0.1)}, 100),
        ({"optimizer": fastnn.SGD(0.1), "queries": 101}, 100),
        ({"optimizer": fastnn.SGD(0.1), "measure_every": 2}, 100),  # 20 blocks of 5
        ({"optimizer": fastnn.SGD(0.1), "measure_every": 2, "queries": 104}, 104),  # a step's look is not paid for
        ({"optimizer": fastnn.SGD(0.1), "blocking": 1.0}, 100),  # 1 + 33 * 3
        ({}, 99),  # 75 to calibrate, 12 steps
        ({"optimizer": fastnn.Spall(c=0.1)}, 100),
        ({"optimizer": fastnn.Spall(c=0.1, a=0.1, calibrate=2)}, 100),
        ({"blocking": "auto", "optimizer": fastnn.SGD(0.1)}, 100),  # 25 + 25 * 3
        ({"readout": Readout(repeats=3), "optimizer": fastnn.SGD(0.1)}, 96),
        ({"gradient": fastnn.Perturbation(0.1), "optimizer": fastnn.SGD(0.1)}, 96),
    ],
    ids=repr,
)
def test_every_query_is_counted(options, wanted):
    calls = []

    def loss(weights):
        calls.append(weights)
        return bowl(weights)

    result = fastnn.minimize(loss, START, **{"queries": 100, **options})
    assert len(calls) == result.queries == wanted
    assert result.stopped == "queries"
    assert result.steps == len(result.history["loss"])
    assert result.history["queries"][-1] == wanted
    assert not any(weights.flags.writeable for weights in calls)


def test_seconds_end_in_the_middle_of_a_step():
    """And a second run goes on there."""
    minimizer = fastnn.Minimizer(START, gradient=fastnn.Perturbation(0.1), optimizer=fastnn.SGD(0.1), queries=None)
    calls = []

    def slow(weights):
        calls.append(0)
        time.sleep(0.02)
        return bowl(weights)

    result = minimizer.run(slow, seconds=0.01)
    assert (result.queries, result.steps, result.stopped, len(calls)) == (1, 0, "seconds", 1)
    assert math.isnan(result.loss)
    while minimizer.n_steps == 0:
        minimizer.run(slow, seconds=0.01)
    assert len(calls) == 6
    whole = fastnn.minimize(bowl, START, gradient=fastnn.Perturbation(0.1), optimizer=fastnn.SGD(0.1), queries=6)
    np.testing.assert_array_equal(minimizer.weights, whole.weights)
    assert minimizer.result().stopped == "unfinished"
    assert minimizer.result().seconds > 0.1


@pytest.mark.late
def test_lists_of_arrays_and_their_dtype():
    start = [np.ones((2, 3), np.float32), np.ones(2, np.float32)]
    seen = []

    def loss(weights):
        seen.append(weights)
        return sum(np.square(part).sum() for part in weights)

    options = {"bounds": ([0.5, None], 4.0), "optimizer": fastnn.SGD(0.05), "gradient": fastnn.Perturbation(0.01)}
    result = fastnn.minimize(loss, start, **options)
    assert [part.shape for part in seen[0]] == [(2, 3), (2,)]
    assert {part.dtype for parts in (seen[0], result.weights, result.last) for part in parts} == {np.dtype("float32")}
    assert all((part == 1).all() for part in start)
    assert min(parts[0].min() for parts in seen) >= 0.5
    np.testing.assert_allclose(result.weights[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(result.weights[1], 0.0, atol=0.2)
    batched = fastnn.minimize(
        lambda parts: sum(np.square(part).reshape(len(part), -1).sum(axis=1) for part in parts),
        start,
        batched=True,
        **options,
    )
    np.testing.assert_allclose(batched.weights[0], 0.5, atol=1e-6)
    matrix = fastnn.minimize(lambda w: float(np.square(w).sum()), [[1.0, 2.0]], queries=400)
    assert matrix.weights.shape == (1, 2)
    assert fastnn.minimize(lambda w: float(w) ** 2, 1.0, queries=400).weights.shape == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_that_weights_cannot_have(dtype, tmp_path):
    """They are rounded inwards, so that nothing is beyond them, and files can be read."""
    low, high = np.array([-0.1, 1e-4, -0.1, -1e300]), np.array([0.3, 0.7, 1e-4, 0.0])
    seen = []

    def loss(weights):
        seen.append(weights)
        return float((weights * np.array([-1.0, 1.0, -1.0, -1.0])).sum())

    options = {"optimizer": fastnn.SGD(0.1), "bounds": (low, high), "average": 0.1}
    for gradient in (fastnn.RandomDirections(3, 0.003, "gaussian"), fastnn.Perturbation(0.003, "central")):
        minimizer = fastnn.Minimizer(np.array([0.3, 1e-4, 1e-4, 0.0], dtype), gradient=gradient, queries=480, **options)
        result = minimizer.run(loss)
        for weights in (*seen, result.weights, result.last):
            assert ((low <= weights.astype(float)) & (weights.astype(float) <= high)).all()
        minimizer.save(tmp_path / "search")
        same(fastnn.Minimizer.resume(tmp_path / "search").result(), result)
    np.testing.assert_allclose(result.weights, [0.3, 1e-4, 1e-4, 0.0], rtol=np.finfo(dtype).eps)


def test_a_step_that_is_worse_is_taken_back():
    gradient = fastnn.RandomDirections(directions="gaussian")
    result = fastnn.minimize(bowl, START, gradient=gradient, optimizer=fastnn.SGD(0.2), blocking=0.0, queries=300)
    accepted, measured = result.history["accepted"], result.history["measured"]
    assert 0 < accepted.sum() < len(accepted)
    kept = np.append(bowl(START), measured[accepted == 1])
    assert (np.diff(kept) <= 0).all()
    assert bowl(result.weights) == kept[-1]
    assert result.settings["allowed"] == 0.0
    assert result.loss == kept[1:][-25:].mean()
    # Of those that were taken back there is none in the loss.
    none = fastnn.minimize(bowl, TARGET + 1.0, optimizer=fastnn.SGD(10.0), blocking=0.0, queries=31)
    assert none.history["accepted"].tolist() == [0.0] * 10
    assert none.loss == 5.0
    assert math.isnan(none.loss_error)
    noisy = fastnn.minimize(bowl, START, optimizer=fastnn.SGD(0.01), blocking="auto", readout=Readout(0.5), queries=300)
    assert 0.5 < noisy.settings["allowed"] < 1.6  # two deviations of 0.5, which 25 readings know to a seventh


def test_the_mean_over_the_last_steps():
    options = {"optimizer": fastnn.SGD(0.1), "readout": Readout(0.1)}
    minimizer = fastnn.Minimizer(START, queries=40, average=0.25, **options)
    seen = []

    class Look(Callback):
        def on_steps(self, trainer):
            if trainer.n_steps > len(seen):  # else its kernels took long to load, and a step is not whole yet
                seen.append(trainer.weights)

    result = minimizer.run(bowl, callbacks=[Look()])
    assert len(seen) == 20
    np.testing.assert_allclose(result.weights, np.mean(seen[-5:], axis=0), rtol=1e-14)
    np.testing.assert_array_equal(result.last, seen[-1])


@pytest.mark.parametrize("blocking", [None, 0.0])
@pytest.mark.parametrize("after", [15, 16, 25])
def test_no_mean_of_a_search_that_is_stopped(blocking, after):
    """Also between a step and its look; 30 steps were allowed, and from 15 on they count."""
    queries = 60 if blocking is None else 91
    options = {"optimizer": fastnn.SGD(0.01), "average": 0.5, "blocking": blocking, "callbacks": [Stop(after)]}
    result = fastnn.minimize(bowl, START, queries=queries, **options)
    assert (result.stopped, result.steps) == ("callback", after)
    np.testing.assert_array_equal(result.weights, result.last)


def test_noise_decides_the_nudge():
    result = fastnn.minimize(bowl, START, readout=Readout(0.5, seed=2), queries=100)
    assert 0.3 < result.settings["c"] < 0.7
    assert fastnn.minimize(bowl, START, queries=100).settings["c"] == 1e-3
    assert fastnn.minimize(bowl, np.zeros(5), queries=100).settings["a"] > 0
    assert fastnn.Minimizer(START, queries=None).result().settings["A"] == 100.0


def test_readings_are_rounded():
    readout = Readout(bits=2, span=(0.0, 3.0))
    minimizer = fastnn.Minimizer([0.0], optimizer=fastnn.SGD(0.0), queries=None, readout=readout)
    search = minimizer._search
    for answer, wanted in ((-1.0, 0.0), (0.4, 0.0), (0.6, 1.0), (2.6, 3.0), (9.0, 3.0)):
        for query in minimizer.ask():
            minimizer.tell(query.index, answer)
        assert search.history[search.n_steps - 1, 1] == wanted


class TestFailures:
    def test_some(self):
        """Their directions are left out, and the rest are weighed as if there were no others."""
        gradient = fastnn.RandomDirections(3, 0.1)
        minimizer = fastnn.Minimizer(START, gradient=gradient, optimizer=fastnn.SGD(0.1), queries=6)
        for query in minimizer.ask():
            minimizer.tell(query.index, math.nan if query.index in (2, 3) else bowl(query.weights))
        drawn = naive.step_directions("rademacher", 0, 0, 3, 5, True)
        wanted = START - 0.1 * naive.estimate(bowl, START, drawn[[0, 2]], 0.1)[0]
        np.testing.assert_allclose(minimizer.weights, wanted, atol=1e-13)
        assert minimizer.result().failed == 2

    @pytest.mark.parametrize("how", ["turn", "workers", "batched"])
    def test_that_raise(self, how):
        calls = []

        def loss(weights):
            calls.append(0)
            if len(calls) % 5 == 0:
                raise OSError("no answer")
            return bowls(weights) if how == "batched" else bowl(weights)

        options = {"workers": {"workers": map}, "batched": {"batched": True}}.get(how, {})
        options["gradient"] = fastnn.RandomDirections(3)
        if how == "batched":  # all of a batch fail
            with pytest.raises(FloatingPointError, match="6 of 6 queries failed.*: OSError: no answer") as raised:
                fastnn.minimize(loss, START, optimizer=fastnn.SGD(0.01), queries=600, **options)
            assert (raised.value.result.steps, raised.value.result.failed) == (4, 6)
        else:
            result = fastnn.minimize(loss, START, optimizer=fastnn.SGD(0.01), queries=600, **options)
            assert (result.failed, result.queries) == (120, 600)
            assert bowl(result.weights) < bowl(START) / 10

    @pytest.mark.parametrize("compiled", [False, True])
    def test_too_many(self, compiled, monkeypatch):
        """The weights of the last good step are there, and one can go on."""
        monkeypatch.setattr(module, "is_compiled", lambda loss: compiled)
        stage = np.zeros(1)

        def fails_later(weights):
            return math.nan if stage[0] else bowl(weights)

        if compiled and not JIT_DISABLED:
            pytest.skip("a compiled loss has no stages; see test_a_compiled_loss_that_fails")
        minimizer = fastnn.Minimizer(START, optimizer=fastnn.SGD(0.1), queries=100)

        class Fail(Callback):
            def on_steps(self, trainer):
                stage[0] = trainer.n_steps >= 7

        with pytest.raises(FloatingPointError, match=r"2 of 2 queries failed, .*after 7 steps\.") as raised:
            minimizer.run(fails_later, callbacks=[Fail()])
        result = raised.value.result
        assert (result.stopped, result.steps, result.queries, result.failed) == ("failed", 7, 16, 2)
        wanted = fastnn.minimize(bowl, START, optimizer=fastnn.SGD(0.1), queries=14)
        np.testing.assert_array_equal(result.weights, wanted.weights)
        stage[0] = 0
        assert minimizer.run(bowl).steps == 49

    @pytest.mark.parametrize(
        ("options", "least"),  # queries less than these leave room for another round, and a step after it
        [
            ({"optimizer": fastnn.SGD(0.1)}, 97),
            ({"optimizer": fastnn.SGD(0.1), "measure_every": 2}, 97),
            ({"optimizer": fastnn.SGD(0.1), "blocking": 0.0}, 95),
            ({"optimizer": fastnn.SGD(0.1), "blocking": 0.0, "readout": Readout(repeats=2)}, 89),
            ({"queries": 250}, 172),
            ({"queries": 250, "blocking": "auto", "average": 0.5}, 171),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("rate", [0.45, 1.0])
    def test_never_more_than_the_queries_allow(self, options, least, rate):
        """However often one goes on."""
        rng = np.random.default_rng(0)
        options = {"queries": 100, "gradient": fastnn.RandomDirections(2)} | options
        minimizer = fastnn.Minimizer(START, **options)
        calls = n_errors = 0

        def fails_often(weights):
            nonlocal calls
            calls += 1
            return math.nan if rng.random() < rate else bowl(weights)

        for _ in range(100):
            try:
                result = minimizer.run(fails_often)
            except FloatingPointError:
                n_errors += 1
        assert minimizer.done
        assert n_errors > 0
        assert least <= calls == result.queries == minimizer.n_queries <= options["queries"]
        assert minimizer.ask() == []

    @pytest.mark.parametrize("compiled", [False, True])
    def test_no_direction_is_left(self, compiled, monkeypatch):
        """Of a forward step by one failure; nothing moves, and after ten such steps in a row that is said."""
        monkeypatch.setattr(module, "is_compiled", lambda loss: compiled)
        options = {"gradient": fastnn.Perturbation(0.01), "optimizer": fastnn.SGD(0.1), "queries": 400}
        minimizer = fastnn.Minimizer(np.zeros(3), **options)
        for n_steps in (10, 20):
            with pytest.raises(FloatingPointError, match=f"every direction of 10 steps in a row failed.* {n_steps} st"):
                minimizer.run(jitted_hole)
            result = minimizer.result()
            assert (result.steps, result.failed, result.queries) == (n_steps, n_steps, 4 * n_steps)
            np.testing.assert_array_equal(result.weights, 0.0)
        assert minimizer.run(jitted_bowl).steps == 100

    def test_some_of_single_directions(self):
        """Steps that are lost now and then are no reason to end."""
        numbers = iter(range(400))
        options = {"gradient": fastnn.RandomDirections(), "optimizer": fastnn.SGD(0.02), "queries": 400}
        result = fastnn.minimize(lambda w: math.nan if next(numbers) % 5 == 0 else bowl(w), START, **options)
        assert (result.failed, result.steps, result.stopped) == (80, 200, "queries")
        assert (result.history["step"] == 0.0).sum() == 80
        assert bowl(result.weights) < bowl(START) / 10

    def test_too_many_after_some(self, monkeypatch):
        """A compiled loss's are counted once, too."""
        gradient = fastnn.RandomDirections(4, directions="gaussian")
        options = {"gradient": gradient, "optimizer": fastnn.SGD(0.01), "queries": 1000}
        results = []
        monkeypatch.setattr(module, "is_compiled", lambda loss: loss is jitted_slope)
        for loss in (jitted_slope, lambda weights: jitted_slope(weights)):
            with pytest.raises(FloatingPointError, match="[5-8] of 8 queries failed") as raised:
                fastnn.minimize(loss, START, **options)
            results.append(raised.value.result)
        assert results[0].failed > 8
        same(*results)

    def test_in_the_calibration(self):
        with pytest.raises(FloatingPointError, match="25 of 25 queries failed"):
            fastnn.minimize(lambda w: math.inf, START)
        with pytest.raises(ValueError, match="did not change .* in 25 pairs of readings, nudges of 0.001 on either"):
            fastnn.minimize(lambda w: 1.0, START)
        flaky = iter([math.nan, *[1.0] * 3, *[math.nan] * 50])
        with pytest.raises(FloatingPointError):
            fastnn.minimize(lambda w: next(flaky), START, optimizer=fastnn.Spall(calibrate=4), queries=100)
        once = fastnn.Minimizer(START, optimizer=fastnn.Spall(calibrate=2), queries=20)
        for query in once.ask():
            once.tell(query.index, math.nan if query.index else 1.0)
        assert once.ask()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("power", [1, 2, 4])
    @pytest.mark.parametrize("lowest", [0.0, 1.0])
    def test_at_a_minimum(self, dtype, power, lowest):
        """The slope there is rounding: below 1, weights are spaced half as wide as above."""

        def loss(weights):
            return lowest + float((np.abs(weights.astype(float) - 1.0) ** power).sum())

        for n_weights in (1, 3, 100):
            with pytest.raises(ValueError, match="not change by more than rounding .* which may be a minimum"):
                fastnn.minimize(loss, np.ones(n_weights, dtype))
            # A flat slope is no rounding, and a loss may be large.
            flat = fastnn.minimize(lambda w: 1e3 + 1e-5 * float(w.sum()), np.ones(n_weights, dtype), queries=100)
            assert flat.steps > 0

    def test_a_calibration_that_tells_nothing_is_had_again(self, tmp_path):
        calls = 0

        def constant(weights):
            nonlocal calls
            calls += 1
            return 1.0

        minimizer = fastnn.Minimizer(START, queries=200)
        for wanted in (75, 125, 175):
            with pytest.raises(ValueError, match="did not change"):
                minimizer.run(constant)
            assert calls == minimizer.n_queries == wanted
            minimizer.save(tmp_path / "search")
            assert fastnn.Minimizer.resume(tmp_path / "search").n_queries == wanted
        assert minimizer.done  # another 50 and a step are more than 200
        minimizer = fastnn.Minimizer(START, queries=200)
        with pytest.raises(ValueError, match="did not change"):
            minimizer.run(constant)
        assert [query.index for query in minimizer.ask()] == list(range(75, 125))
        result = minimizer.run(bowl)
        assert (result.queries, result.steps) == (199, 37)
        # So is one whose nudge does not fit, which noise decides.
        minimizer = fastnn.Minimizer(START, queries=200, bounds=(-3.0, 3.0), readout=Readout(9.0))
        for wanted in (25, 50):
            with pytest.raises(ValueError, match="less than two nudges"):
                minimizer.run(bowl)
            assert minimizer.n_queries == wanted

    def test_of_a_reading_at_the_weights(self):
        """The step is taken back; a measurement is missing."""
        minimizer = fastnn.Minimizer(START, optimizer=fastnn.SGD(0.1), blocking=9.0, queries=10)
        while asked := minimizer.ask():
            for query in asked:
                minimizer.tell(query.index, math.nan if len(asked) == 1 and query.index else bowl(query.weights))
        assert minimizer.result().history["accepted"].tolist() == [0.0, 0.0, 0.0]
        np.testing.assert_array_equal(minimizer.weights, START)

    def test_of_a_base(self):
        """No direction can be weighed: the weights stay."""
        gradient = fastnn.RandomDirections(3, scheme="forward")
        minimizer = fastnn.Minimizer(START, gradient=gradient, optimizer=fastnn.SGD(0.1), queries=4)
        for query in minimizer.ask():
            minimizer.tell(query.index, bowl(query.weights) if query.index else math.nan)
        np.testing.assert_array_equal(minimizer.weights, START)

    @pytest.mark.parametrize("compiled", [False, True])
    def test_weights_that_are_not_finite(self, compiled, monkeypatch):
        monkeypatch.setattr(module, "is_compiled", lambda loss: compiled)
        loss = jitted_bowl if compiled else plain_bowl
        with pytest.raises(FloatingPointError, match="not finite after step .*; take smaller steps") as raised:
            fastnn.minimize(loss, START, optimizer=fastnn.SGD(1e308))
        assert np.isfinite(raised.value.result.weights).all()

    @pytest.mark.late
    @pytest.mark.parametrize("compiled", [False, True])
    def test_nudges_that_vanish(self, compiled, monkeypatch):
        monkeypatch.setattr(module, "is_compiled", lambda loss: compiled)
        loss = jitted_bowl if compiled else plain_bowl
        with pytest.raises(ValueError, match="a nudge of 0.001 is below the rounding of a weight of 30000 in float32"):
            fastnn.minimize(loss, np.array([3e4], np.float32))
        start, gradient = np.array([1.0], np.float32), fastnn.RandomDirections(1, 1e-3)
        with pytest.raises(FloatingPointError, match="a nudge of 0.001 is below the rounding of the largest weight"):
            fastnn.minimize(loss, start, gradient=gradient, optimizer=fastnn.SGD(3.0))


@pytest.mark.late
@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_a_compiled_loss_that_fails():
    @numba.njit
    def raises(weights):
        if weights[0] < 0.3:
            raise ValueError("mine")
        return weights[0] ** 2

    @numba.njit
    def is_nan(weights):
        return np.nan if weights[0] < 0.3 else weights[0] ** 2

    @numba.njit
    def is_text(weights):
        return "1"

    start, optimizer = np.array([0.5, 0.5]), fastnn.SGD(0.01)
    minimizer = fastnn.Minimizer(start, optimizer=optimizer, queries=1000)
    with pytest.raises(ValueError, match="mine"):
        minimizer.run(raises)
    assert minimizer.n_steps > 3
    assert minimizer.n_queries == 2 * minimizer.n_steps
    assert 0.29 < minimizer.weights[0] < 0.32
    with pytest.raises(FloatingPointError, match="2 of 2 queries failed") as raised:
        fastnn.minimize(is_nan, start, optimizer=optimizer, queries=1000)
    same_weights = raised.value.result.weights
    assert 0.29 < same_weights[0] < 0.32
    with pytest.raises(TypeError, match="does not compile to a real number for a vector of float64"):
        fastnn.minimize(is_text, start, optimizer=optimizer, queries=1000)
    assert jit.is_compiled(is_text)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_a_compiled_loss_that_writes_to_its_argument(repeats, scheme, monkeypatch):
    """Each query has weights of its own."""
    options = {"gradient": fastnn.RandomDirections(2, 0.1, scheme=scheme), "readout": Readout(repeats=repeats)}
    options |= {"optimizer": fastnn.SGD(0.05), "queries": 300}
    plain = fastnn.minimize(lambda weights: writing_bowl(weights.copy()), START, **options)
    monkeypatch.setattr(module, "is_compiled", lambda loss: True)
    same(fastnn.minimize(writing_bowl, START, **options), plain)


def test_what_the_compiler_says(monkeypatch):
    def fail(*_):
        raise jit.NumbaError("no number")

    monkeypatch.setattr(module, "is_compiled", lambda loss: True)
    monkeypatch.setattr("fastnn.blackbox.compiled.run_steps", fail)
    with pytest.raises(TypeError, match="does not compile to a real number for a vector of float64: .*no number"):
        fastnn.minimize(jitted_bowl, START, optimizer=fastnn.SGD(0.1))


def test_a_compiled_loss_ends_in_time(monkeypatch):
    monkeypatch.setattr(module, "is_compiled", lambda loss: True)
    result = fastnn.minimize(jitted_bowl, START, optimizer=fastnn.SGD(0.1), queries=None, seconds=0.2)
    assert result.stopped == "seconds"
    assert result.queries == 2 * result.steps > 0


class Stop(Callback):
    def __init__(self, after):
        self.after, self.calls = after, []

    def on_fit_begin(self, trainer, n_steps):
        self.calls.append(n_steps)

    def on_steps(self, trainer):
        self.calls.append(trainer.n_steps)
        if trainer.n_steps == self.after:
            trainer.stop()

    def on_fit_end(self, trainer, history):
        self.calls.append(history)

    def state(self):
        return {"seen": np.array(self.calls[1:], float), "after": self.after}

    def restore(self, trainer, state):
        self.restored = state


def test_callbacks(tmp_path, monkeypatch):
    stop = Stop(3)
    result = fastnn.minimize(bowl, START, optimizer=fastnn.SGD(0.1), queries=20, callbacks=[stop])
    assert stop.calls == [10, 1, 2, 3, result]
    assert (result.stopped, result.steps, result.interrupted) == ("callback", 3, False)
    # Their states are in the file.
    minimizer = fastnn.Minimizer(START, optimizer=fastnn.SGD(0.1), queries=20)
    path = tmp_path / "search"

    class Save(Stop):
        def on_steps(self, trainer):
            super().on_steps(trainer)
            trainer.save(path)

    minimizer.run(bowl, callbacks=[Save(2)])
    going = Save(99)
    fastnn.Minimizer.resume(path).run(bowl, callbacks=[going])
    assert going.restored["after"] == 2
    assert going.restored["seen"].tolist() == [1.0, 2.0]
    # Within a step, after a tenth of a second.
    monkeypatch.setattr(module, "CALL_SECONDS", 0.0)
    gradient, stop = fastnn.Perturbation(0.1), Stop(1)
    fastnn.minimize(bowl, START, gradient=gradient, optimizer=fastnn.SGD(0.1), queries=12, callbacks=[stop])
    assert stop.calls[1:-1] == [0, 0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match="mine"):
        fastnn.minimize(bowl, START, callbacks=[Stop(1)], progress=None, workers=fail)


def fail(function, queries):
    raise ValueError("mine")


def test_progress():
    pytest.importorskip("tqdm")
    fastnn.minimize(bowl, START, queries=100, progress=True)


class Press:
    """Presses Ctrl-C at a query, before it is answered."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def __call__(self, weights):
        self.calls += 1
        if self.calls == self.at:
            signal.raise_signal(signal.SIGINT)
        return bowl(weights)


@pytest.mark.parametrize("at", [1, 26, 100])
def test_ctrl_c_leaves_a_reading_and_loses_no_other(at):
    minimizer = fastnn.Minimizer(START, queries=150)
    result = minimizer.run(Press(at))
    assert result.interrupted
    assert result.queries == at - 1
    whole = fastnn.minimize(bowl, START, queries=150)
    same(minimizer.run(bowl), whole)


def test_ctrl_c_in_a_callback_ends_the_run():
    class Pressing(Callback):
        def on_steps(self, trainer):
            if trainer.n_steps == 2:
                signal.raise_signal(signal.SIGINT)

    result = fastnn.minimize(bowl, START, optimizer=fastnn.SGD(0.1), callbacks=[Pressing()])
    assert (result.stopped, result.steps) == ("interrupted", 2)


def test_a_handler_of_ones_own():
    def raise_mine(*_):
        raise OSError("mine")

    before = signal.signal(signal.SIGINT, raise_mine)
    try:
        with pytest.raises(OSError, match="mine"):
            fastnn.minimize(Press(30), START, queries=150)
    finally:
        signal.signal(signal.SIGINT, before)


def test_processes():
    """The loss is pickled with what maps it; a worker that is killed ends the run, and nothing told is lost."""
    context = multiprocessing.get_context("spawn")  # a fork is not safe once a test has imported JAX, which has threads
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        options = {"gradient": fastnn.RandomDirections(4), "optimizer": fastnn.SGD(0.05), "queries": 80}
        whole = fastnn.minimize(bowl, START, **options)
        same(fastnn.minimize(bowl, START, workers=pool.map, **options), whole)
        minimizer = fastnn.Minimizer(START, **options)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            minimizer.run(kill_worker, workers=pool.map)
    assert minimizer.n_queries == 0
    same(minimizer.run(bowl), whole)


def kill_worker(weights):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_failure_is_told_across_processes():
    def loss(weights):
        raise OSError("far away")

    answer = Reader(loss)(fastnn.Query(0, START))
    assert math.isnan(answer)
    assert pickle.loads(pickle.dumps(answer)).reason == "OSError: far away"


KILLED = """
import sys, fastnn
from fastnn.blackbox import minimizer as module
from pathlib import Path
module.CALL_SECONDS = 0.0  # a file after every query
path, log = Path(sys.argv[1]), open(sys.argv[2], "a")

def loss(weights):
    print(weights.tolist(), file=log, flush=True)
    return float(weights @ weights)

if path.exists():
    minimizer = fastnn.Minimizer.resume(path)
else:
    minimizer = fastnn.Minimizer(
        [1.0, 2.0, 3.0], gradient=fastnn.RandomDirections(3), optimizer=fastnn.SGD(0.01), queries=600
    )
print("ready", flush=True)
result = minimizer.run(loss, callbacks=[fastnn.callbacks.Checkpoint(path, seconds=0)])
print(result.weights.tolist(), result.queries)
"""


@pytest.mark.late
def test_a_killed_run_repeats_only_what_was_in_flight(tmp_path):
    def start(path, log):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, path, log], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )

    calm, _ = start(tmp_path / "calm", tmp_path / "calm.log").communicate(timeout=300)
    kills = 0
    for delay in (0.05, 0.2):
        process = start(tmp_path / "killed", tmp_path / "log")
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    out, _ = start(tmp_path / "killed", tmp_path / "log").communicate(timeout=300)
    assert out == calm
    asked = (tmp_path / "log").read_text().splitlines()
    assert 600 <= len(asked) <= 600 + kills
    assert set(asked) == set((tmp_path / "calm.log").read_text().splitlines())


def test_result():
    result = fastnn.minimize(bowl, START, queries=200)
    described = result.to_dict()
    assert described["weights"] is result.weights
    assert described["stopped"] == "queries"
    html = result._repr_html_()
    assert "Minimum: loss" in html
    assert "measured" not in html
    measured = fastnn.minimize(lambda w: math.nan if w[0] > 9 else bowl(w), START, queries=200, measure_every=5)
    assert "measured" in measured._repr_html_()
    assert not np.isnan(measured.loss_error)
    flaky = fastnn.minimize(lambda w: math.nan if w[0] > 0.5 else bowl(w), START, optimizer=fastnn.SGD(0.0), queries=9)
    assert ", 4 failed in" in flaky._repr_html_()
    one = fastnn.minimize(bowl, START, optimizer=fastnn.SGD(0.1), queries=2)
    assert one.loss == one.history["loss"][0]
    assert math.isnan(one.loss_error)


def test_an_import_of_fastnn_does_not_wait_for_them():
    program = "import sys, fastnn; assert 'fastnn.blackbox' not in sys.modules; print(fastnn.minimize, fastnn.Query)"
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    assert {"minimize", "Minimizer", "Minimum", "Query", "RandomDirections", "Spall", "mlp"} <= set(dir(fastnn))
    with pytest.raises(AttributeError, match="module 'fastnn' has no attribute 'maximize'"):
        fastnn.maximize  # noqa: B018


def test_many_rows():
    """The history grows as it is needed."""
    result = fastnn.minimize(bowl, START, optimizer=fastnn.SGD(0.1), queries=2 * rounds.N_ROWS + 20)
    assert result.steps == rounds.N_ROWS + 10
    assert (np.diff(result.history["queries"]) == 2).all()


BAD = [
    ({"loss": 3}, TypeError, "loss must be a function of the weights, got 3"),
    ({"loss": lambda w: None}, TypeError, "must return one real number, got None"),
    ({"loss": lambda w: w}, TypeError, r"one real number, got shape \(5,\) and dtype float64"),
    ({"loss": lambda w: 1j}, TypeError, "one real number, got shape .* complex128"),
    ({"loss": lambda w: [[1], [1, 2]]}, TypeError, "one real number, got"),
    ({"loss": lambda w: bowl(w), "batched": True}, TypeError, r"must return 25 real numbers for as many points"),
    ({"loss": lambda w: [[1], [1, 2]], "batched": True}, TypeError, r"25 real numbers .*, got \[\[1\], \[1, 2\]\]"),
    ({"gradient": fastnn.Backprop()}, TypeError, "gradient must be a fastnn.RandomDirections or fastnn.Perturbation"),
    ({"gradient": fastnn.RandomDirections}, TypeError, r"write RandomDirections\(...\)"),
    (
        {"optimizer": 0.1},
        TypeError,
        "optimizer must be a fastnn.Spall, fastnn.SGD, fastnn.Adam, fastnn.RMSprop, fastnn.AdamW or fastnn.Adagrad",
    ),
    ({"queries": 10}, ValueError, "a step of RandomDirections.* takes 2 queries, after the 75 of .* and queries=10"),
    (
        {"queries": 9, "gradient": fastnn.Perturbation(scheme="central"), "optimizer": fastnn.SGD()},
        ValueError,
        "on 5 weights takes 10 queries, and queries=9",
    ),
    ({"queries": 0}, ValueError, "queries must be an integer >= 1"),
    ({"queries": None}, ValueError, "nothing ends this"),
    ({"seconds": 0}, ValueError, "seconds must be a finite number > 0"),
    ({"weights": []}, ValueError, "weights is empty"),
    ({"weights": [np.ones(2), [math.nan]]}, ValueError, r"weights\[1\] has NaN"),
    ({"weights": "abc"}, TypeError, "weights must be real numbers"),
    ({"bounds": 3}, TypeError, r"bounds must be \(low, high\)"),
    ({"bounds": (0, 1)}, ValueError, "weight 1 starts at -1, outside of its bounds 0 and 1"),
    ({"bounds": ([0, 1], 1)}, ValueError, "the low bounds are no numbers shaped like the weights"),
    ({"bounds": (math.nan, 1)}, ValueError, "the low bounds have NaN, or None among numbers; -inf is no bound"),
    ({"bounds": (-1, [3, 3, 3, 3, None])}, ValueError, "the high bounds have NaN, or None .*; inf is no bound"),
    ({"bounds": ([0.0], 1), "weights": [np.zeros(2), np.zeros(2)]}, ValueError, "low bounds are 1 arrays, and .* 2"),
    (
        {"bounds": (-1, [0.501, 3, 3, 3, 3]), "gradient": fastnn.RandomDirections(eps=0.8), "optimizer": fastnn.SGD()},
        ValueError,
        "bounds -1 and 0.501 of weight 0 are less than two nudges of 0.8 apart",
    ),
    ({"batched": 1}, TypeError, "batched must be True or False"),
    ({"batched": True, "workers": map}, ValueError, "give one of them"),
    ({"workers": 4}, TypeError, "workers must be a function like map, .*, got 4"),
    ({"workers": lambda f, x: None}, TypeError, "workers must return numbers, as map does, got None"),
    ({"workers": lambda f, x: [1.0]}, ValueError, "workers returned 1 numbers for 25 queries"),
    ({"workers": lambda f, x: [None] * len(x)}, TypeError, "one real number, got None"),
    ({"measure_every": 0}, ValueError, "measure_every must be an integer >= 1"),
    ({"measure_every": 2, "blocking": 1.0}, ValueError, "give measure_every or blocking"),
    ({"blocking": "always"}, ValueError, "blocking must be one of 'auto'"),
    ({"blocking": -1}, ValueError, "blocking must be a finite number >= 0"),
    ({"average": 1.5}, ValueError, "average must be a finite number >= 0 and <= 1"),
    ({"average": 0.5, "queries": None, "seconds": 1.0}, ValueError, "average is a share of the steps"),
    ({"readout": 0.1}, TypeError, "readout must be a fastnn.hardware.Readout, got 0.1"),
    ({"seed": -1}, ValueError, "seed must be an integer >= 0"),
    ({"callbacks": [EarlyStopping()]}, TypeError, r"callbacks\[0\] looks at epochs, .*, got EarlyStopping"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_input(options, error, message):
    arguments = {"loss": bowl, "weights": START, **options}
    with pytest.raises(error, match=message):
        fastnn.minimize(arguments.pop("loss"), arguments.pop("weights"), **arguments)


def test_a_loss_that_writes_to_its_argument():
    def loss(weights):
        weights[0] = 0.0

    with pytest.raises(FloatingPointError, match="read-only"):
        fastnn.minimize(loss, START)


def test_bad_answers():
    minimizer = fastnn.Minimizer(START)
    with pytest.raises(ValueError, match="query 0 was not asked"):
        minimizer.tell(0, 1.0)
    minimizer.ask()
    minimizer.tell(3, np.float32(1.0))
    for index in (3, 25):
        with pytest.raises(ValueError, match=f"query {index} was not asked, or is told already"):
            minimizer.tell(index, 1.0)
    with pytest.raises(TypeError, match="one real number"):
        minimizer.tell(0, "1")
    assert minimizer.n_queries == 1
    # What is missing between others is read as well.
    minimizer = fastnn.Minimizer(START, queries=100)
    for query in minimizer.ask():
        if query.index in (3, 4, 9):
            minimizer.tell(query.index, bowl(query.weights))
    same(minimizer.run(bowl), fastnn.minimize(bowl, START, queries=100))


def make_golden(path):
    options = SEARCHES[7] | {"bounds": (-3.0, 3.0)}
    minimizer = fastnn.Minimizer(START, queries=300, **options)
    minimizer.run(bowl, callbacks=[Stop(20)])
    for query in minimizer.ask()[:2]:
        minimizer.tell(query.index, bowl(query.weights))
    minimizer.save(path)


def test_golden_file():
    minimizer = fastnn.Minimizer.resume(GOLDEN)
    assert minimizer.n_steps == 20
    result = minimizer.run(bowl)
    whole = fastnn.minimize(bowl, START, queries=300, **SEARCHES[7] | {"bounds": (-3.0, 3.0)})
    # The file may be of another machine, whose logarithms differ in the last bit.
    np.testing.assert_allclose(result.weights, whole.weights, rtol=1e-9)
    assert result.queries == whole.queries


def change(name, value):
    """Return what changes an array of a file, or an entry of its description."""

    def apply(description, arrays):
        if name in arrays:
            arrays[name] = value(arrays[name])
        else:
            description[name] = value(description[name])

    return apply


def repeat(n_repeats):
    """Return what has a file believe that each reading is so many queries."""

    def apply(description, arrays):
        description |= {"queries": None, "average": 0.0}
        description["readout"]["repeats"] = n_repeats

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("shapes", lambda _: [[4]]), "its weights and bounds do not fit together"),
        (change("rounds", lambda _: ["look"]), "its rounds are none of a search"),
        (change("answers", lambda a: a[1:]), "answers is float64 of shape"),
        (change("counts", lambda a: a + 1), "its counts are none of a search"),
        (change("queries", lambda _: 162), "it has more steps than its queries allow"),
        (repeat(10**7), "answers is float64 of shape"),
        (repeat(10**15), "its rounds are no search's"),
        (change("before", lambda a: a * math.nan), "before has NaN or infinity"),
        (change("theta", lambda a: a * math.nan), "has NaN"),
        (change("gradient", lambda _: ["Backprop", {}]), "Backprop"),
        (change("numbers", lambda a: a - 1e9), "seconds must be a finite number >= 0"),
    ],
)
def test_files_that_are_none_of_a_search(tmp_path, spoil, message):
    _, description, arrays = files.read(GOLDEN, "minimizer")
    spoil(description, arrays)
    files.write(tmp_path / "spoilt", "minimizer", description, arrays, lambda path: None)
    with pytest.raises(ValueError, match=message):
        fastnn.Minimizer.resume(tmp_path / "spoilt")


if __name__ == "__main__":
    make_golden(GOLDEN)


def test_a_run_within_a_run_is_refused():
    minimizer = fastnn.Minimizer([1.0], queries=300, optimizer=fastnn.SGD(0.01))

    class Again(fastnn.callbacks.Callback):
        def on_steps(self, minimizer):
            with pytest.raises(RuntimeError, match="runs already"):
                minimizer.run(np.sum)

    assert minimizer.run(lambda w: float(w @ w), callbacks=[Again()]).queries == 300
