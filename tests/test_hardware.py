"""Weights on devices: what is written, what acts and what is read, on networks and on black boxes."""

import dataclasses
import math
import warnings
from pathlib import Path

import naive
import numba
import numpy as np
import pytest
from conftest import OPTIMIZERS
from test_interrupt import at_call, press, same_bits  # noqa: F401 (a fixture)
from test_layers import Case as ImageCase

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._support import files
from fastnn.callbacks import Callback, EarlyStopping
from fastnn.hardware import Devices, Readout
from fastnn.kernels.optimizers import MODULES

GOLDEN = Path(__file__).parent / "golden" / "checkpoint-1-devices.safetensors"
N = 4000 if JIT_DISABLED else 200_000  # weights of a sample; plain Python takes 10 us each
NOISY = Devices(6, -2.0, 2.0, "stochastic", 0.01, 0.02, 0.1, 0.2, copy=False, seed=3)
KINDS = [
    Devices(5, -2.0, 2.0),
    Devices(5, -2.0, 2.0, copy=False),
    Devices(5, -2.0, 2.0, rounding="stochastic", copy=False),
    Devices(low=-0.5, high=0.75, stuck=0.3, gain_spread=0.2),
    Devices(6, -2.0, 2.0, "stochastic", 0.01, 0.02, 0.1, 0.2, seed=2**32 - 1),
    NOISY,
]


def make_twin(devices, size, run=0):
    options = dataclasses.asdict(devices)
    return naive.Devices(size, options.pop("seed") | run << 32, **options)


def act(devices, weights):
    """Return what weights come to when they are written, and read once."""
    return devices._act(np.asarray(weights, float))[0]


def is_mean(samples, wanted):
    """Say whether a mean is what it should be, by the samples' own deviation: z below 5."""
    return abs(samples.mean() - wanted) <= 5 * samples.std(ddof=1) / math.sqrt(samples.size) + 1e-15


class TestClosedForms:
    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
    def test_stochastic_rounding(self, share):
        """The mean is what is wanted, the variance f (1 - f) step^2, of a share f of a step above a level."""
        devices = Devices(3, -1.0, 2.5, "stochastic")  # steps of 1/2
        assert devices.step == 0.5
        written = act(devices, np.full(N, 0.5 + 0.5 * share))
        assert set(np.unique(written)) <= {0.5, 1.0}
        if share:
            assert is_mean(written, 0.5 + 0.5 * share)
            assert is_mean(np.square(written - 0.5 - 0.5 * share), share * (1 - share) * 0.25)
        else:
            assert (written == 0.5).all()

    def test_noise(self):
        """Of what is written and of what is read, independent: their variances add up."""
        written = act(Devices(write_noise=0.1), np.zeros(N))
        both = act(Devices(write_noise=0.1, read_noise=0.2), np.zeros(N))
        for sample, variance in ((written, 0.01), (both, 0.05), (both - written, 0.04)):
            assert is_mean(sample, 0.0)
            assert is_mean(np.square(sample), variance)

    def test_gains_and_what_is_stuck(self):
        devices = Devices(gain_spread=0.3, stuck=0.25)
        gains = devices._act(np.ones(N))[1]
        assert is_mean(1.0 * (gains == 0.0), 0.25)
        logs = np.log(gains[gains > 0])
        assert is_mean(logs, 0.0)
        assert is_mean(np.square(logs), 0.09)


@pytest.mark.late
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_levels(dtype):
    """To the nearest, cut to the bounds; what lies on a level stays."""
    devices = Devices(2, -1.0, 2.0)
    wanted = np.array([-9.0, -1.0, -0.51, -0.49, 0.49, 0.51, 1.9, 2.0, 7.0], dtype)
    written, _ = devices._act(wanted)
    assert written.tolist() == [-1.0, -1.0, -1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0]
    assert written.dtype == dtype
    for bits in (1, 7, 16):
        devices = Devices(bits, -0.7, 1.3)
        levels = (-0.7 + np.arange(2**bits) * devices.step).astype(dtype)
        np.testing.assert_array_equal(devices._act(levels)[0], levels)
    assert Devices().step is None
    np.testing.assert_array_equal(Devices(low=-0.5)._act(wanted)[0], np.clip(wanted, -0.5, 1.0))


def train(case, devices, optimizer, gradient=None, epochs=1, **options):
    trainer = fastnn.Trainer(
        case.network,
        loss=case.loss,
        gradient=gradient or fastnn.Backprop(),
        optimizer=optimizer,
        batch_size=options.pop("batch_size", None),
        devices=devices,
    )
    trainer.fit(case.x, case.y, epochs=epochs, **options)
    return trainer


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[0], OPTIMIZERS[3], OPTIMIZERS[7]], ids=repr)
@pytest.mark.parametrize("devices", KINDS, ids=repr)
def test_steps_are_those_of_plain_numpy(make_case, devices, optimizer):
    """Each gradient fastnn's own, at what is read; each update and write NumPy's.

    Where rounding puts something on the other side of a level, results differ by a step: none of these does.
    """
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    network = case.network
    shapes, size = [w.shape for w in network.weights], network.n_parameters
    ends = np.cumsum([0, *map(math.prod, shapes)])

    def split(vector):
        return [vector[a:b].reshape(s) for a, b, s in zip(ends[:-1], ends[1:], shapes, strict=True)]

    twin, probe = make_twin(devices, size), fastnn.mlp(3, 4, 3, hidden="tanh", seed=0)
    start = flat(network.weights)
    wanted, _, acting = twin.write(start, twin.round(start), 0, index=1)
    rule, kernels = naive.OPTIMIZERS[optimizer.code.name.lower()], MODULES[optimizer.code]
    rates = [getattr(optimizer, name) for name in kernels.RATES]
    moments = [[np.zeros(shape) for shape in shapes] for _ in range(kernels.N_MOMENTS)]
    trainer = fastnn.Trainer(
        network, loss=case.loss, gradient=fastnn.Backprop(), optimizer=optimizer, batch_size=None, devices=devices
    )
    for step in range(1, 5):
        probe.weights = split(twin.read(acting, step))
        slopes = fastnn.gradient(probe, case.x, case.y, method=fastnn.Backprop())
        slopes = split(flat(slopes) * twin.gains)
        moved, moments = rule(split(wanted), slopes, moments, step, optimizer.lr, optimizer.weight_decay, *rates)
        wanted, _, acting = twin.write(flat(moved), acting, step)
        trainer.fit(case.x, case.y)
        np.testing.assert_allclose(flat(network.weights), acting, atol=1e-12)
    assert trainer.n_steps == 4


@pytest.mark.parametrize("devices", KINDS, ids=repr)
@pytest.mark.parametrize("gradient", [fastnn.Backprop(), fastnn.Perturbation(8 / 31, evaluate="direct")], ids=repr)
def test_bits_do_not_depend_on_how_work_is_cut(make_case, monkeypatch, chunks, devices, gradient):
    """Into calls, blocks of samples but for the order of their sum, or threads; nor on layers of shared weights."""
    for make in (
        lambda: make_case(("squared_error", "identity"), ("tanh", 2), n_samples=9),
        lambda: ImageCase("deep", n_samples=9),
    ):
        options = {"epochs": 3, "batch_size": 4, "gradient": gradient}
        case = make()
        if not isinstance(gradient, fastnn.Backprop) and isinstance(case, ImageCase):
            continue  # minutes in plain Python, and the units of the descent are the same
        whole = train(case, devices, OPTIMIZERS[3], **options)
        with monkeypatch.context() as patch:
            patch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
            same_bits(train(make(), devices, OPTIMIZERS[3], **options), whole)
        with monkeypatch.context() as patch:
            patch.setattr("fastnn._engine.workspace.BUDGET", 1)
            other = train(make(), devices, OPTIMIZERS[3], **options)
        if devices.bits is None:
            np.testing.assert_allclose(other.network._theta, whole.network._theta, rtol=1e-9)
        for n_chunks in (2, 3):
            chunks(n_chunks)
            same_bits(train(make(), devices, OPTIMIZERS[3], **options), whole)
        chunks(1)


@pytest.mark.parametrize("devices", [KINDS[0], KINDS[4], NOISY], ids=repr)
def test_files(make_case, tmp_path, monkeypatch, devices):
    """From every step, bit for bit, the copy, the devices and their noise among them."""
    monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)

    class Save(Callback):
        def on_steps(self, trainer):
            trainer.save(tmp_path / f"{trainer.n_steps}")

    case = make_case(("squared_error", "identity"), ("tanh", 1))
    options = {"gradient": fastnn.Perturbation(8 / 31, evaluate="direct"), "batch_size": 2}
    whole = train(case, devices, OPTIMIZERS[3], epochs=3, callbacks=[Save()], **options)
    for name in range(1, 10):
        trainer = fastnn.Trainer.resume(tmp_path / f"{name}")
        assert trainer.devices == devices
        trainer.fit(case.x, case.y, 3 - trainer.n_epochs)
        same_bits(trainer, whole)


def test_golden_file(make_case):
    trainer = fastnn.Trainer.resume(GOLDEN)
    assert trainer.devices == NOISY
    assert trainer.history.queries.tolist() == [3 * 13, 6 * 13]
    case = make_case(("squared_error", "identity"), ("tanh", 0))
    twin = train(case, NOISY, fastnn.Adam(0.01), fastnn.Perturbation(8 / 31, evaluate="direct"), epochs=3, batch_size=2)
    trainer.fit(case.x, case.y)
    # The file may be of another machine, whose logarithms differ in the last bit.
    np.testing.assert_allclose(trainer.network._theta, twin.network._theta, rtol=1e-9)


def make_golden():
    from conftest import Case

    case = Case(("squared_error", "identity"), ("tanh", 0))
    train(case, NOISY, fastnn.Adam(0.01), fastnn.Perturbation(8 / 31, evaluate="direct"), epochs=2, batch_size=2).save(
        GOLDEN
    )


class TestWhatIsLeft:
    """When a fit ends, however it does, the network has what acts, without what a reading adds."""

    def acting(self, trainer):
        return trainer._update.moments[-2]

    def test_after_it_came_to_its_end(self, make_case):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        trainer = train(case, NOISY, fastnn.SGD(0.1), epochs=2)
        np.testing.assert_array_equal(trainer.network._theta, self.acting(trainer))
        assert trainer.evaluate(case.x, case.y).loss == case.mean_loss()

    @pytest.mark.parametrize("step", [1, 3])
    def test_after_ctrl_c(self, make_case, at_call, step):  # noqa: F811
        case, twin = (make_case(("squared_error", "identity"), ("tanh", 1)) for _ in range(2))
        whole = train(twin, NOISY, fastnn.SGD(0.1), epochs=4)
        trainer = train(case, NOISY, fastnn.SGD(0.1), epochs=0)
        at_call(step, press)
        assert trainer.fit(case.x, case.y, 4).interrupted
        np.testing.assert_array_equal(trainer.network._theta, self.acting(trainer))
        trainer.fit(case.x, case.y, 4 - trainer.n_epochs)
        same_bits(trainer, whole)

    def test_after_a_loss_that_is_not_finite(self, make_case):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        trainer = train(case, NOISY, fastnn.SGD(0.1), epochs=0)
        before = case.network._theta.copy()
        with pytest.raises(FloatingPointError, match="the loss is not finite at epoch 1, batch 1"):
            trainer.fit(case.x, case.y * 1e200)
        np.testing.assert_array_equal(case.network._theta, before)

    def test_a_weight_that_is_not_finite_is_seen(self, make_case):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        trainer = train(case, KINDS[0], fastnn.SGD(1e308), epochs=0)
        with pytest.raises(FloatingPointError, match="not finite at epoch 1, batch 1"):
            trainer.fit(case.x, case.y * 1e10)
        assert np.isfinite(case.network._theta).all()


def test_what_others_set_is_written(make_case):
    """All at first, and then what is no longer what acts; what is stuck stays."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    devices = Devices(4, -2.0, 2.0, gain_spread=0.2, stuck=0.3)
    start = case.network._theta.copy()
    trainer = train(case, devices, fastnn.SGD(0.01), epochs=0)
    twin = make_twin(devices, start.size)
    first = case.network._theta.copy()
    np.testing.assert_allclose(first, twin.write(start, twin.round(start), 0, 1)[2], rtol=1e-14)
    trainer.fit(case.x, case.y, 2)
    later = case.network._theta.copy()
    stuck = twin.gains == 0
    assert stuck.any()
    np.testing.assert_array_equal(later[stuck], first[stuck])
    assert (later != first).any()
    case.network._theta[:] = 0.3
    trainer.fit(case.x, case.y, 0)
    np.testing.assert_array_equal(case.network._theta[stuck], first[stuck])
    np.testing.assert_allclose(
        case.network._theta[~stuck], (twin.gains * twin.round(0.3 / np.where(stuck, 1, twin.gains)))[~stuck]
    )
    case.network._theta[:] = later  # what acted before acts again
    trainer.fit(case.x, case.y, 0)
    np.testing.assert_array_equal(case.network._theta, later)


def test_early_stopping_goes_back_to_what_acted(make_case):
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    seen = []

    class Look(Callback):
        def on_epoch_end(self, trainer, metrics):
            seen.append(trainer.network._theta.copy())

    stopping = EarlyStopping(patience=2)
    trainer = train(
        case, KINDS[4], fastnn.SGD(0.5), epochs=20, validation_data=(case.x, case.y), callbacks=[Look(), stopping]
    )
    np.testing.assert_array_equal(case.network._theta, seen[stopping.best_epoch - 1])
    trainer.fit(case.x, case.y, 0)
    np.testing.assert_allclose(case.network._theta, seen[stopping.best_epoch - 1], atol=0.2)  # it is written anew


def test_small_steps_need_a_copy(make_case):
    """Without one, a step of less than half a level is lost; with one they add up."""
    start = make_case(("squared_error", "identity"), ("tanh", 1)).network._theta.copy()
    ends = {}
    for copy in (False, True):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        train(case, Devices(4, -2.0, 2.0, copy=copy), fastnn.SGD(1e-4), epochs=300)
        ends[copy] = case.network._theta
    written = make_twin(Devices(4, -2.0, 2.0), start.size).round(start)
    np.testing.assert_allclose(ends[False], written, atol=1e-12)
    assert np.abs(ends[True] - written).max() > 0.2


def test_gradient(make_case):
    """At what the weights come to, by the slope with their settings; the network stays."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    before = case.network._theta.tobytes()
    devices = dataclasses.replace(NOISY, stuck=0.0)
    found = flat(case.gradient(fastnn.Backprop(), devices=devices))
    assert case.network._theta.tobytes() == before
    acting, gains = devices._act(case.network._theta)
    case.network._theta[:] = acting
    np.testing.assert_allclose(found, flat(case.gradient(fastnn.Backprop())) * gains, rtol=1e-13)
    assert (flat(case.gradient(fastnn.Backprop(), devices=NOISY)) == 0).any()  # what is stuck has no slope


START = np.array([0.5, -1.0, 1.5, 0.25, -0.75])


def bowl(weights):
    return float(np.square(weights - 0.3).sum())


@numba.njit
def jitted_bowl(weights):
    total = 0.0
    for k in range(weights.size):
        total += (weights[k] - 0.3) ** 2
    return total


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("devices", KINDS, ids=repr)
def test_points_are_those_of_plain_numpy(devices, scheme):
    """Where a black box is read, and how its weights move; the seed of the run is half of the key."""
    gradient, run = fastnn.RandomDirections(3, devices.step or 0.1, scheme=scheme), 5
    minimizer = fastnn.Minimizer(
        START, gradient=gradient, optimizer=fastnn.SGD(0.1), devices=devices, seed=run, queries=1000, measure_every=2
    )
    twin, n_readings = make_twin(devices, 5, run), gradient.queries(5)
    wanted, settings, acting = twin.write(START, twin.round(START), 0, index=1)
    query = 0
    for step in range(4):
        drawn = naive.step_directions("rademacher", run << 32, step, 3, 5, scheme == "central")
        points, around = [], np.clip(settings, devices.low + gradient.eps, devices.high - gradient.eps)
        for number in range(n_readings):
            if scheme == "central":
                point = around + (-1) ** number * gradient.eps * drawn[number // 2]
            else:
                point = around + gradient.eps * drawn[number - 1] if number else around
            stays = scheme == "forward" and number == 0 and around == settings
            point = np.where(stays, acting, twin.write(point, acting, step, 2 + number)[2])
            points.append(twin.read(point, query + number))
        asked = minimizer.ask()
        np.testing.assert_allclose([query.weights for query in asked], points, atol=1e-12)
        losses = np.array([bowl(point) for point in points])
        for number, one in enumerate(asked):
            minimizer.tell(one.index, losses[number])
        query += n_readings
        changes = (losses[::2] - losses[1::2]) / 2 if scheme == "central" else losses[1:] - losses[0]
        wanted, settings, acting = twin.write(
            wanted - 0.1 * (changes[:, None] * drawn).mean(axis=0) / gradient.eps, acting, step + 1
        )
        np.testing.assert_allclose(minimizer.weights, acting, atol=1e-12)
        if step % 2:
            (look,) = minimizer.ask()
            np.testing.assert_allclose(look.weights, twin.read(acting, query), atol=1e-12)
            minimizer.tell(look.index, 1.0)
            query += 1


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("devices", [Devices(), Devices(6), Devices(6, rounding="stochastic", copy=False)], ids=repr)
def test_weights_leave_a_bound(devices, scheme):
    """Readings are taken a nudge away from it, where there is room for one."""
    for gradient in (fastnn.Perturbation(2 / 63, scheme), fastnn.RandomDirections(3, 2 / 63, scheme=scheme)):
        for bound in (-1.0, 1.0):
            options = {"gradient": gradient, "optimizer": fastnn.SGD(0.1), "devices": devices, "queries": 2000}
            result = fastnn.minimize(bowl, np.full(3, bound), **options)
            np.testing.assert_allclose(result.weights, 0.3, atol=4 / 63)


def test_settings_are_levels():
    """Wherever a search reads, be it in its calibration; by repeats of one setting, read anew."""
    seen = []

    def loss(weights):
        seen.append(weights.copy())
        return bowl(weights)

    devices = Devices(5, -2.0, 2.0)
    result = fastnn.minimize(loss, START, devices=devices, queries=400, average=0.5)
    seen = np.array([*seen, result.weights, result.last])
    levels = (seen + 2.0) / devices.step
    np.testing.assert_allclose(levels, levels.round(), atol=1e-10)
    nudges = result.history["nudge"] / devices.step
    np.testing.assert_allclose(nudges, 1.0)  # eps is far below a step: one step is taken
    assert np.abs(result.weights - 0.3).max() < 2 * devices.step
    seen = []
    readout, options = Readout(repeats=2), {"optimizer": fastnn.SGD(0.0), "queries": 4}
    fastnn.minimize(loss, START, devices=Devices(read_noise=0.1), readout=readout, **options)
    assert len(np.unique(seen, axis=0)) == 4
    assert np.abs(seen[0] - seen[1]).max() < 1.0


def test_a_step_that_is_taken_back_is_written():
    options = {"gradient": fastnn.RandomDirections(2, 0.15), "optimizer": fastnn.SGD(0.5), "queries": 200}
    for devices in (Devices(6, -2.0, 2.0), Devices(6, -2.0, 2.0, "stochastic", copy=False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = fastnn.minimize(bowl, START, devices=devices, blocking=0.0, **options)
        kept = result.history["measured"][result.history["accepted"] == 1]
        assert (result.history["accepted"] == 0).any()
        if devices.copy:
            assert bowl(result.weights) == kept[-1]


def test_a_mean_over_steps_is_written():
    devices = Devices(4, -2.0, 2.0, stuck=0.4)
    result = fastnn.minimize(bowl, START, devices=devices, average=1.0, queries=400)
    stuck = make_twin(devices, 5).gains == 0
    levels = (result.weights + 2.0) / devices.step
    np.testing.assert_allclose(levels, levels.round(), atol=1e-10)
    np.testing.assert_array_equal(result.weights[stuck], result.last[stuck])


def test_a_nudge_that_is_no_whole_number_of_steps(make_case):
    devices, gradient = Devices(3, -3.5, 3.5), fastnn.RandomDirections(eps=1.25)
    with pytest.warns(UserWarning, match="eps=1.25 is 1.25 steps of the devices: nudges are rounded to whole ones"):
        fastnn.minimize(bowl, START, devices=devices, gradient=gradient, optimizer=fastnn.SGD(0.1), queries=10)
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    with pytest.warns(UserWarning, match="eps=1.25 is 1.25 steps"):
        train(case, devices, fastnn.SGD(0.1), fastnn.Perturbation(1.25))
    exact = fastnn.Perturbation(2.0)  # is not warned of
    train(case, devices, fastnn.SGD(0.1), exact)
    train(case, dataclasses.replace(devices, rounding="stochastic"), fastnn.SGD(0.1), fastnn.Perturbation())


BAD = [
    ({"bits": 0}, ValueError, "bits must be an integer >= 1"),
    ({"bits": 17}, ValueError, "bits must be an integer <= 16"),
    ({"low": 1.0}, ValueError, "high must be a finite number > 1"),
    ({"low": -math.inf}, ValueError, "low must be a finite number"),
    ({"rounding": "up", "bits": 2}, ValueError, "rounding must be one of 'nearest', 'stochastic'"),
    ({"rounding": "stochastic"}, ValueError, "needs bits: without there are no levels"),
    ({"write_noise": -1}, ValueError, "write_noise must be a finite number >= 0"),
    ({"read_noise": math.nan}, ValueError, "read_noise must be a finite number >= 0"),
    ({"gain_spread": "1"}, TypeError, "gain_spread must be a real number"),
    ({"stuck": 1.5}, ValueError, "stuck must be a finite number >= 0 and <= 1"),
    ({"copy": 1}, TypeError, "copy must be True or False"),
    ({"seed": 2**32}, ValueError, "seed must be an integer <= 4294967295"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_devices(options, error, message):
    with pytest.raises(error, match=message):
        Devices(**options)


def test_bad_input(make_case):
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    devices = Devices(3, -3.5, 3.5)
    message = (
        r"no device moves: eps=1e-06 is less than half of a step of 1, with Devices\(bits=3, .*take eps=1, more bits"
    )
    for call in (
        lambda: fastnn.Trainer(case.network, devices=devices),
        lambda: case.gradient(fastnn.Perturbation(), devices=devices),
        lambda: fastnn.minimize(bowl, START, devices=devices, gradient=fastnn.Perturbation(), optimizer=fastnn.SGD()),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=r"no device moves: c=0\.4 is less than half of a step of 1"):
        fastnn.minimize(bowl, START, devices=devices, optimizer=fastnn.Spall(c=0.4))
    for call in (
        lambda: fastnn.Trainer(case.network, devices=6),
        lambda: case.gradient(fastnn.Backprop(), devices=6),
        lambda: fastnn.minimize(bowl, START, devices=6),
    ):
        with pytest.raises(TypeError, match=r"devices must be a fastnn\.hardware\.Devices, got 6"):
            call()
    with pytest.raises(ValueError, match="devices have bounds of their own, low and high: leave out bounds"):
        fastnn.minimize(bowl, START, devices=devices, bounds=(-2.0, 2.0))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("bits", 99), ("low", "0"), ("colour", "red"), ("seed", -1)],
)
def test_files_with_no_such_devices(make_case, tmp_path, kind, value):
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    train(case, NOISY, fastnn.SGD(0.1)).save(tmp_path / "run")
    _, description, arrays = files.read(tmp_path / "run", "checkpoint")
    description["devices"][kind] = value
    files.write(tmp_path / "run", "checkpoint", description, arrays, lambda path: None)
    with pytest.raises(ValueError, match="does not hold a checkpoint"):
        fastnn.Trainer.resume(tmp_path / "run")
    minimizer = fastnn.Minimizer(START, devices=NOISY)
    minimizer.save(tmp_path / "search")
    _, description, arrays = files.read(tmp_path / "search", "minimizer")
    files.write(tmp_path / "search", "minimizer", description, arrays | {"acting": START * math.inf}, lambda path: None)
    with pytest.raises(ValueError, match="acting has NaN or infinity"):
        fastnn.Minimizer.resume(tmp_path / "search")


if __name__ == "__main__":
    make_golden()
