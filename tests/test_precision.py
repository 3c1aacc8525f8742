"""Where digits are lost, and where they are not."""

import naive
import numba
import numpy as np
import pytest
from wide import narrow, widen

import fastnn
from fastnn.kernels import activations, elementary

# The definitions, to be evaluated in extended precision.
EXTENDED = {code: naive.ACTIVATIONS[code.name.lower()] for code in activations.MODULES}


@numba.njit
def changes(code, z, t):
    """Return the kernel's f(z + t) - f(z), element by element."""
    result = np.empty(z.size)
    for k in range(z.size):
        a, slope = activations.value_and_slope(code, z[k])
        result[k] = t[k]
        activations.change_block(code, z[k], a, slope, result[k : k + 1])
    return result


@numba.njit
def values(code, z):
    """Return the kernel's f(z) and f'(z), element by element."""
    a, slope = np.empty(z.size), np.empty(z.size)
    for k in range(z.size):
        a[k], slope[k] = activations.value_and_slope(code, z[k])
    return a, slope


@numba.njit
def coefficients(code, z):
    """Return the kernel's f''(z) / 2 and f'''(z) / 6, element by element, (n, 2)."""
    result = np.empty((z.size, 2))
    for k in range(z.size):
        a, slope = activations.value_and_slope(code, z[k])
        result[k] = activations.taylor(code, z[k], a, slope)
    return result


@pytest.mark.parametrize("code", EXTENDED, ids=lambda code: code.name)
def test_changes_keep_their_digits(code):
    rng = np.random.default_rng(0)
    z = rng.normal(scale=4, size=2000)
    for size in (1e-12, 1e-8, 1e-4, 0.1, 0.49, 0.51, 3.0):
        t = size * rng.choice([-1.0, 1.0], 2000) * rng.uniform(0.9, 1.0, 2000)
        wide = z.astype(np.longdouble)
        truth = EXTENDED[code](wide + t) - EXTENDED[code](wide)
        # What changed on the way up and down: where it only rises or falls, the change.
        way = EXTENDED[code](wide[:, None] + t[:, None] * np.linspace(0, 1, 65, dtype=np.longdouble))
        changed = np.abs(np.diff(way)).sum(axis=1)
        # Sixteen roundings; a value subtracted from a near one where |t| is large keeps
        # its digits relative to the smaller of the two tails, at worst exp(-3) of it;
        # and the truth's own cancellation.
        own = (16 if size <= 0.5 else 400) * np.finfo(float).eps * changed
        reference = 8 * np.finfo(np.longdouble).eps * (1 + np.abs(wide) + size)
        assert (np.abs(changes(code, z, t) - truth) <= own + reference).all()


@pytest.mark.parametrize("code", EXTENDED, ids=lambda code: code.name)
def test_values_and_slopes(code):
    z = np.concatenate([np.random.default_rng(0).normal(scale=5, size=1000), [0.0, -0.0]])
    a, slope = values(code, z)
    wide = z.astype(np.longdouble)
    h = np.longdouble(1e-6)
    truth = (EXTENDED[code](wide + h) - EXTENDED[code](wide - h)) / (2 * h)
    np.testing.assert_allclose(a, EXTENDED[code](wide).astype(float), rtol=8 * np.finfo(float).eps)
    smooth = z != 0.0
    # The truth's h**2 / 6 of a third derivative below 1, and its rounding over h.
    np.testing.assert_allclose(slope[smooth], truth[smooth].astype(float), rtol=1e-12, atol=1e-12)


@pytest.mark.late(kept=5)
@pytest.mark.parametrize("code", EXTENDED, ids=lambda code: code.name)
def test_extremes(code):
    extremes = np.array([-1e308, -1000.0, -750.0, 0.0, 750.0, 1000.0, 1e308])
    z, t = (grid.ravel() for grid in np.meshgrid(extremes, [-1000.0, -1.0, -1e-4, 1e-4, 1.0, 1000.0]))
    a, slope = values(code, z)
    assert np.isfinite(a).all()
    assert np.isfinite(slope).all()
    assert np.isfinite(coefficients(code, z)).all()
    measured = changes(code, z, t)
    wide = z.astype(np.longdouble)
    with np.errstate(over="ignore"):  # exp overflows on the way to a sigmoid of 0
        truth = (EXTENDED[code](wide + t) - EXTENDED[code](wide)).astype(float)
    # At 1e308 a step of t is below the rounding of z in any precision.
    assert np.isfinite(measured).all()
    moderate = np.abs(z) <= 1000
    np.testing.assert_allclose(measured[moderate], truth[moderate], rtol=1e-12, atol=1e-16)
    assert np.isnan(values(code, np.array([np.nan]))[0]).all()


@pytest.mark.parametrize("place", ["far below", "at its turn", "far above"])
def test_silu_keeps_its_digits(place):
    """Where s is no number but z s is, where the slope is zero, and where f is z but for what is no longer seen."""
    silu, rng = activations.Activation.SILU, np.random.default_rng(0)
    z = {
        "far below": -rng.uniform(600.0, 712.0, 300),
        "at its turn": activations.silu.TURN + rng.choice([-1.0, 1.0], 300) * 10.0 ** rng.uniform(-16, 0, 300),
        "far above": 10.0 ** rng.uniform(1.0, 12.0, 300),
    }[place]
    t = rng.choice([-1.0, 1.0], 300) * 10.0 ** rng.uniform(-12, 0.8, 300)
    wide, f, h = widen(z), EXTENDED[silu], widen(np.full(300, 1e-25))
    measured = changes(silu, z, t)
    truth = f(wide + widen(t)) - f(wide)
    # What changed on the way down and up, where z and z + t lie on either side of the turn.
    turn = widen(np.full(300, activations.silu.TURN)) + widen(np.full(300, activations.silu.TURN_REST))
    crosses = narrow((wide - turn) * (wide + widen(t) - turn)) < 0.0
    changed = np.where(crosses, abs(f(wide + widen(t)) - f(turn)) + abs(f(wide) - f(turn)), abs(truth))
    # Sixteen roundings of that: below LARGE, of a sum whose terms are three times as large at most; above, of two
    # values of up to 0.28, near the turn twelve times as much as they differ by on the way.
    roundings = np.where(np.abs(t) <= 0.5, 16, 16 if place != "at its turn" else 16 * 12)
    # The smallest number is what one below 2e-308 is rounded to.
    rounding = np.maximum(np.finfo(float).eps * narrow(changed), np.finfo(float).smallest_subnormal)
    assert (narrow(abs(widen(measured) - truth)) <= roundings * rounding).all()
    # Eight roundings of the value. Of the slope sixteen, and those of its truth: a difference in eighty digits
    # over 2e-25, off by 1e-50.
    a, slope = values(silu, z)
    slopes = narrow((f(wide + h) - f(wide - h)) / (2 * h))
    np.testing.assert_allclose(a, narrow(f(wide)), rtol=8 * np.finfo(float).eps, atol=0)
    np.testing.assert_allclose(slope, slopes, rtol=16 * np.finfo(float).eps, atol=1e-50 if place != "far below" else 0)


@pytest.mark.parametrize("place", ["far below", "below", "at its turn", "far above"])
def test_gelu_keeps_its_digits(place):
    """Where P(z) is hardly a number, where the slope is zero, and where f is z but for what is no longer seen."""
    gelu, rng = activations.Activation.GELU, np.random.default_rng(0)
    turned = activations.gelu.TURN + rng.choice([-1.0, 1.0], 40) * 10.0 ** rng.uniform(-16, 0, 40)
    z = {
        "far below": -rng.uniform(20.0, 37.0, 40),
        "below": -rng.uniform(1.0, 20.0, 40),
        "at its turn": turned,
        "far above": 10.0 ** rng.uniform(0.5, 12.0, 40),
    }[place]
    t = rng.choice([-1.0, 1.0], 40) * 10.0 ** rng.uniform(-12, 0.8, 40)
    wide, f, h = widen(z), EXTENDED[gelu], widen(np.full(z.size, 1e-10))
    measured = changes(gelu, z, t)
    truth = f(wide + widen(t)) - f(wide)
    turn = widen(np.full(z.size, activations.gelu.TURN)) + widen(np.full(z.size, activations.gelu.TURN_REST))
    crosses = narrow((wide - turn) * (wide + widen(t) - turn)) < 0.0
    changed = np.where(crosses, abs(f(wide + widen(t)) - f(turn)) + abs(f(wide) - f(turn)), abs(truth))
    # Sixteen roundings of what changed on the way down and up; of numbers below 2e-308, the smallest one, times z**2.
    rounding = 16 * np.finfo(float).eps * narrow(changed) + 40**2 * np.finfo(float).smallest_subnormal
    assert (narrow(abs(widen(measured) - truth)) <= rounding).all()
    a, slope = values(gelu, z)
    np.testing.assert_allclose(a, narrow(f(wide)), rtol=8 * np.finfo(float).eps, atol=2e-321)
    # The truth is off by h**4 / 30 of a fifth derivative: of up to 40**4 times the slope, or 1 at the turn.
    slopes = (8 * (f(wide + h) - f(wide - h)) - (f(wide + 2 * h) - f(wide - 2 * h))) / (12 * h)
    np.testing.assert_allclose(
        slope, narrow(slopes), rtol=16 * np.finfo(float).eps, atol=4e-40 if place == "at its turn" else 2e-321
    )


@numba.njit
def decays(x):
    """Return the kernel's exp(x) and 1 - exp(x), element by element."""
    e, rest = np.empty(x.size), np.empty(x.size)
    for k in range(x.size):
        e[k], rest[k] = elementary.decay(x[k])
    return e, rest


def test_decay_is_exp_within_an_ulp():
    rng = np.random.default_rng(0)
    x = -np.concatenate([[0.0, 1e-300, 1e-17, 0.34657, 0.34658], rng.random(20_000) * 708, rng.random(20_000)])
    e, rest = decays(x)
    wide = x.astype(np.longdouble)
    truth = np.exp(wide)
    assert (np.abs(e - truth) <= np.spacing(truth.astype(float))).all()
    # One more subtraction: two roundings, and those of the growth that is left.
    rest_truth = -np.expm1(wide)
    assert (np.abs(rest - rest_truth) <= 3 * np.spacing(rest_truth.astype(float))).all()
    assert decays(np.array([-709.0, -1e308]))[0].tolist() == [0.0, 0.0]
    assert np.isnan(decays(np.array([np.nan]))[0]).all()


def test_float32_differences_are_right_where_the_naive_ones_are_noise():
    """In float32 two losses differ by eps * slope = 1e-4 * slope, and are rounded at 6e-8."""
    rng = np.random.default_rng(0)
    network = fastnn.mlp(20, 10, 3, seed=0, dtype="float32")
    layers = ["sigmoid", "identity"]
    x, y = rng.normal(size=(32, 20)).astype("float32"), rng.normal(size=(32, 3)).astype("float32")
    wide = [[w.astype(np.longdouble) for w in network.weights], layers, "squared_error"]
    truth, _ = naive.differences(*wide, x.astype(np.longdouble), y.astype(np.longdouble))
    noisy, _ = naive.differences(network.weights, layers, "squared_error", x, y)
    ours = fastnn.gradient(network, x, y, method=fastnn.Perturbation(1e-4))
    scale = max(float(np.abs(g).max()) for g in truth)

    def error(gradient):
        return max(float(np.abs(g - t).max()) for g, t in zip(gradient, truth, strict=True)) / scale

    # Sums of 20 inputs, 10 units and 32 samples, each addition rounded by half an eps.
    assert error(ours) <= 31 * np.finfo("float32").eps
    assert error(noisy) > 1e3 * np.finfo("float32").eps
