"""Random directions: against plain NumPy, and the closed forms that estimates along them have."""

import math

import naive
import numpy as np
import pytest

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn.hardware import Readout
from fastnn.training.schemes import KINDS, MAX_CODE

P = 20
N = 200 if JIT_DISABLED else 4000  # steps; plain Python takes a millisecond each
RNG = np.random.default_rng(0)
SLOPE = RNG.normal(size=P)
CURVATURE = RNG.normal(size=(P, P)) / np.sqrt(P)
CURVATURE = (CURVATURE + CURVATURE.T) / 2


def linear(points):
    return points @ SLOPE


def quadratic(points):
    return points @ SLOPE + 0.5 * np.einsum("...i,ij,...j", points, CURVATURE, points)


def estimates(gradient, loss, n_steps=N, size=P, at=None, readout=None, seed=0):
    """Return the gradients that steps estimate which lead nowhere, (n_steps, size)."""
    start = np.zeros(size) if at is None else at
    optimizer = fastnn.SGD(0.0)
    search = fastnn.Minimizer(
        start, gradient=gradient, optimizer=optimizer, queries=None, readout=readout, seed=seed
    )._search
    found = []
    for _ in range(n_steps):
        search.answers[:] = loss(search.draw(0, search.answers.size))
        search.note(0, search.answers.size)
        search.end_round()
        found.append(search.room.gradient.copy())
    return np.array(found)


def is_mean(samples, wanted):
    """Say whether a mean is what it should be, by the samples' own deviation: z below 5."""
    z = (samples.mean(axis=0) - wanted) / (samples.std(axis=0, ddof=1) / math.sqrt(len(samples)))
    return bool((np.abs(z) < 5).all())


def is_variance(samples, wanted):
    return is_mean(np.square(samples - samples.mean(axis=0)), wanted)


def test_philox_has_the_known_answers():
    """Those of Random123, for counters and keys of zeros and of ones."""
    assert [hex(word) for word in naive.philox(0, [(0, 0, 0, 0)])[0]] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]
    ones = 2**32 - 1
    assert [hex(word) for word in naive.philox(2**64 - 1, [(ones,) * 4])[0]] == [
        "0x408f276d",
        "0x41c83b0e",
        "0xa20bc7c6",
        "0x6d5451fd",
    ]


SHAPINGS = [None, "sign", "ranks"]


@pytest.mark.parametrize("shaping", SHAPINGS)
@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("kind", KINDS)
def test_estimates_are_those_of_plain_numpy(kind, scheme, shaping):
    """Signs and orders are equal bit for bit; normal numbers are to the rounding of two logarithms and cosines.

    The losses are of size 20 and their differences are divided by eps: 1e-15 * 20 / 0.1, ten times.
    """
    q, eps, seed, run = 5, 0.1, 7, 3
    gradient = fastnn.RandomDirections(q, eps, kind, scheme, shaping, seed)
    at = RNG.normal(size=P)
    found = estimates(gradient, quadratic, 15, at=at, seed=run)
    for step in range(15):
        drawn = naive.step_directions(kind, seed | run << 32, step, q, P, scheme == "central")
        wanted, _ = naive.estimate(quadratic, at, drawn, eps, scheme, shaping, kind == "coordinate")
        np.testing.assert_allclose(found[step], wanted, atol=2e-12)


def test_large_ones_are_those_of_plain_numpy():
    """Over several blocks of words, whole and begun; a step of more than 32 bits, too."""
    from fastnn.blackbox import compiled

    for size in (31, 32, 33, 128, 200):
        for kind in ("rademacher", "gaussian"):
            search = fastnn.Minimizer(
                np.zeros(size),
                gradient=fastnn.RandomDirections(2, 1.0, kind, seed=5),
                optimizer=fastnn.SGD(0.0),
                queries=None,
            )._search
            for step in (0, 2**33 + 1):
                points = np.empty((1, size))
                compiled.place_points(
                    search.plan, step, search.gains, search.theta, search.bounds, search.board, search.room, 2, points
                )
                wanted = naive.step_directions(kind, 5, step, 2, size, True)[1]
                np.testing.assert_allclose(points[0], wanted, atol=1e-14)


def test_central_differences_are_right_in_the_mean_on_a_quadratic():
    """Form 1: whatever eps is."""
    for kind in KINDS:
        assert is_mean(estimates(fastnn.RandomDirections(1, 0.7, kind), quadratic), SLOPE), kind


@pytest.mark.parametrize("q", [1, 10])
@pytest.mark.parametrize(("kind", "extra"), [("gaussian", 1), ("rademacher", -1), ("sphere", -1)])
def test_mean_square(kind, extra, q):
    """Form 2: one that draws directions twice within a step has less in it."""
    found = estimates(fastnn.RandomDirections(q, 0.1, kind), linear)
    assert is_mean(np.square(found).sum(axis=1) / (SLOPE @ SLOPE), 1 + (P + extra) / q)


def test_variance_of_each_entry():
    """Form 3."""
    square, own = SLOPE @ SLOPE, np.square(SLOPE)
    assert is_variance(estimates(fastnn.RandomDirections(1, 0.1), linear), square - own)
    assert is_variance(estimates(fastnn.RandomDirections(1, 0.1, "gaussian"), linear), square + own)
    wanted = P / (P + 2) * (square + 2 * own) - own
    assert is_variance(estimates(fastnn.RandomDirections(1, 0.1, "sphere"), linear), wanted)


def test_cosine_of_one_direction():
    """Form 4."""
    found = estimates(fastnn.RandomDirections(1, 0.1, "gaussian"), linear)
    cosines = found @ SLOPE / np.linalg.norm(found, axis=1) / np.linalg.norm(SLOPE)
    wanted = math.exp(math.lgamma(P / 2) - math.lgamma((P + 1) / 2)) / math.sqrt(math.pi)
    assert is_mean(cosines, wanted)


def test_as_many_directions_as_weights_are_not_exact():
    """Form 5: the cosine is about sqrt(1 / 2), and 1 for coordinates."""
    found = estimates(fastnn.RandomDirections(P, 0.1), linear, N // 4)
    cosines = found @ SLOPE / np.linalg.norm(found, axis=1) / np.linalg.norm(SLOPE)
    assert abs(np.square(cosines).mean() - 0.5) < 0.05
    exact = estimates(fastnn.RandomDirections(P, 0.1, "coordinate"), quadratic, 3)
    np.testing.assert_allclose(exact, [SLOPE] * 3, atol=1e-13)  # losses of size 1, divided by 0.2


def test_rows_of_a_code():
    """Form 6: q of N rows; all of them, be it over steps, are exact, to the rounding of losses of size 10."""
    n_rows, q = 32, 8
    found = estimates(fastnn.RandomDirections(q, 0.5, "walsh"), linear, max(N, 1200))
    means = np.square(found).sum(axis=1).reshape(-1, n_rows // q).mean(axis=1)  # a sweep's steps are no free draws
    assert is_mean(means / (SLOPE @ SLOPE), 1 + (P - 1) / q * (n_rows - q) / (n_rows - 1))
    sweeps = estimates(fastnn.RandomDirections(q, 0.5, "walsh"), quadratic, 8).reshape(2, 4, P).mean(axis=1)
    np.testing.assert_allclose(sweeps, [SLOPE] * 2, atol=1e-13)
    np.testing.assert_allclose(
        estimates(fastnn.RandomDirections(n_rows, 0.5, "walsh"), quadratic, 1)[0], SLOPE, atol=1e-13
    )


def test_forward_codes_alias_and_their_negatives_take_that_back():
    """Form 7: exact, to the rounding of losses of size 50, divided by c."""
    size, c = 32, 0.5
    rng = np.random.default_rng(1)
    slope, curvature = rng.normal(size=size), rng.normal(size=(size, size))
    curvature = (curvature + curvature.T) / 2

    def loss(points):
        return points @ slope + 0.5 * np.einsum("...i,ij,...j", points, curvature, points)

    gradient = fastnn.RandomDirections(size, c, "walsh", "forward")
    found = estimates(gradient, loss, 2, size=size)
    sign = naive.counted_signs(0, 2, 0, 0, size)  # of the columns: those of H stand at the scrambled ones
    scrambled = curvature * sign[:, None] * sign
    index = np.arange(size)
    alias = c / 2 * sign * np.array([scrambled[index, index ^ k].sum() for k in range(size)])
    np.testing.assert_allclose(found[0] - slope, alias, atol=1e-12)
    np.testing.assert_allclose(found.mean(axis=0), slope, atol=1e-12)


def test_what_forward_differences_of_a_quadratic_add():
    """Form 8."""
    c, square, own = 0.7, SLOPE @ SLOPE, np.square(SLOPE)
    trace, off = np.trace(CURVATURE), CURVATURE - np.diag(np.diag(CURVATURE))
    found = estimates(fastnn.RandomDirections(1, c, scheme="forward"), quadratic)
    added = c * c / 4 * (trace**2 + 2 * np.square(off).sum())
    # That of entry i is about its own mean, which the diagonal of the curvature leaves where it is.
    assert is_variance(found[:, :1], square - own[0] + added)
    found = estimates(fastnn.RandomDirections(1, c, "gaussian", "forward"), quadratic)
    twice, diagonal = CURVATURE @ CURVATURE, np.diag(CURVATURE)
    added = trace**2 + 2 * np.trace(twice) + 4 * diagonal * trace + 8 * np.diag(twice)
    assert is_variance(found, square + own + c * c / 4 * added)


def test_gaussian_smoothing():
    """Form 9."""
    a, sigma = np.array([0.4, -0.3, 0.2]), 0.8
    found = estimates(fastnn.RandomDirections(1, sigma, "gaussian"), lambda x: np.sin(x @ a + 0.3), 2 * N, size=3)
    assert is_mean(found, a * math.cos(0.3) * math.exp(-(sigma**2) * (a @ a) / 2))
    cubes = estimates(
        fastnn.RandomDirections(1, 0.5, "gaussian"), lambda x: x[:, 0] ** 3, 2 * N, size=1, at=np.array([0.7])
    )
    assert is_mean(cubes, 3 * 0.7**2 + 3 * 0.5**2)


def test_signs_of_differences():
    """Form 10."""
    found = estimates(fastnn.RandomDirections(1, 0.1, "gaussian", shaping="sign"), linear)
    assert is_mean(found, math.sqrt(2 / math.pi) * SLOPE / np.linalg.norm(SLOPE))


@pytest.mark.parametrize("repeats", [1, 4])
def test_noise_of_readings(repeats):
    """Form 12, of means of several, too: on the reading at the weights as on the others."""
    s, c, q = 0.3, 0.1, 2
    readout = Readout(noise=s, repeats=repeats, seed=1)

    def nothing(points):
        return np.zeros(len(points))

    variance = s**2 / c**2 / repeats
    central = estimates(fastnn.RandomDirections(q, c), nothing, readout=readout)
    assert is_variance(central, variance / (2 * q))
    # The base is in both directions of a step: 1 + 1 / q in the mean over their signs.
    forward = estimates(fastnn.RandomDirections(1, c, scheme="forward"), nothing, readout=readout)
    assert is_variance(forward, 2 * variance)
    each = estimates(fastnn.Perturbation(c), nothing, N // 2, size=4, readout=readout)
    assert is_variance(each, 2 * variance)
    for other in (1, 2, 3):
        assert is_mean(each[:, 0] * each[:, other], variance)


def test_some_coordinates():
    """Form 14, scaled so that the mean is the gradient; within a step and a sweep none comes twice."""
    q = 6
    found = estimates(fastnn.RandomDirections(q, 0.1, "coordinate"), linear)
    assert is_mean(np.square(found).sum(axis=1) / (SLOPE @ SLOPE), P / q)
    assert (np.count_nonzero(found, axis=1) == q).all()
    assert (np.count_nonzero(found.reshape(-1, 2, P)[: N // 3 // 2 * 3 : 3], axis=1) <= 1).all()


def test_best_rate_on_a_bowl():
    """Form 16: one step of `minimize` itself takes the squared distance to 1 - q / (q + P - 1) of itself."""
    q, left = 5, []
    rate = q / (q + P - 1)
    start = RNG.normal(size=P)
    for seed in range(N // 4):
        result = fastnn.minimize(
            lambda w: 0.5 * w @ w,
            start,
            gradient=fastnn.RandomDirections(q, 0.01),
            optimizer=fastnn.SGD(rate),
            queries=2 * q,
            seed=seed,
        )
        left.append(result.weights @ result.weights / (start @ start))
    assert is_mean(np.array(left), 1 - rate)


def test_calibration():
    """Form 17: the slopes that it finds are those of its own directions, and their mean E |D.g|."""
    found = [
        fastnn.minimize(linear, np.zeros(P), optimizer=fastnn.Spall(c=0.1, A=9.0, first_step=0.05), queries=52, seed=k)
        for k in range(N // 10)
    ]
    slopes = np.array([0.05 * 10**0.602 / result.settings["a"] for result in found])
    signs = np.where(np.random.default_rng(2).random((200_000, P)) < 0.5, -1.0, 1.0)
    drawn = np.abs(signs @ SLOPE)
    z = (slopes.mean() - drawn.mean()) / math.hypot(slopes.std() / math.sqrt(len(slopes)), drawn.std() / 447)
    assert abs(z) < 5


def test_what_a_step_costs():
    assert fastnn.RandomDirections(3).queries(P) == 6
    assert fastnn.RandomDirections(3, scheme="forward").queries(P) == 4
    assert fastnn.RandomDirections(3, scheme="forward", shaping="ranks").queries(P) == 3
    assert fastnn.RandomDirections(3, shaping="ranks").queries(P) == 6
    assert fastnn.Perturbation().queries(P) == P + 1
    assert fastnn.Perturbation(scheme="central").queries(P) == 2 * P


def test_equal_losses_share_their_rank():
    gradient = fastnn.RandomDirections(2, 0.1, scheme="forward", shaping="ranks")
    np.testing.assert_array_equal(estimates(gradient, lambda points: np.ones(2), 1), np.zeros((1, P)))


BAD = [
    (lambda: fastnn.RandomDirections(0), ValueError, "q must be an integer >= 1"),
    (lambda: fastnn.RandomDirections(eps=0.0), ValueError, "eps must be a finite number > 0"),
    (lambda: fastnn.RandomDirections(directions="gauss"), ValueError, "did you mean 'gaussian'"),
    (lambda: fastnn.RandomDirections(scheme="both"), ValueError, "scheme must be one of 'forward', 'central'"),
    (lambda: fastnn.RandomDirections(shaping="rank"), ValueError, "did you mean 'ranks'"),
    (lambda: fastnn.RandomDirections(seed=2**32), ValueError, "seed must be an integer <= 4294967295"),
    (lambda: fastnn.RandomDirections(shaping="ranks"), ValueError, '"ranks" needs q >= 2'),
    (
        lambda: fastnn.Minimizer([0.0] * 5, gradient=fastnn.RandomDirections(9, directions="walsh")),
        ValueError,
        "walsh directions of 5 weights are 8, got q=9",
    ),
    (
        lambda: fastnn.Minimizer([0.0] * 5, gradient=fastnn.RandomDirections(6, directions="coordinate")),
        ValueError,
        "coordinate directions of 5 weights are 5, got q=6",
    ),
    (
        lambda: fastnn.Minimizer(np.zeros(MAX_CODE + 1), gradient=fastnn.RandomDirections(directions="walsh")),
        ValueError,
        "takes up to 1,048,576 weights, got 1,048,577",
    ),
    (
        lambda: fastnn.Minimizer([0.0], gradient=fastnn.Perturbation(evaluate="direct")),
        ValueError,
        "evaluate='direct' is for networks",
    ),
    (lambda: fastnn.Trainer(fastnn.mlp(2, 1), optimizer=fastnn.Spall()), TypeError, "; Spall is for fastnn.minimize"),
    (lambda: fastnn.Spall(a=0.0), ValueError, "a must be a finite number > 0"),
    (lambda: fastnn.Spall(A=-1.0), ValueError, "A must be a finite number >= 0"),
    (lambda: fastnn.Spall(gamma=-1.0), ValueError, "gamma must be"),
    (lambda: fastnn.Spall(calibrate=1), ValueError, "calibrate must be an integer >= 2"),
    (lambda: fastnn.Spall(a=1.0, first_step=1.0), ValueError, "give one of them"),
    (lambda: Readout(noise=-1.0), ValueError, "noise must be"),
    (lambda: Readout(repeats=0), ValueError, "repeats must be an integer >= 1"),
    (lambda: Readout(bits=8), ValueError, "bits and span come together"),
    (lambda: Readout(span=(0.0, 1.0)), ValueError, "bits and span come together"),
    (lambda: Readout(bits=53, span=(0.0, 1.0)), ValueError, "bits must be an integer <= 52"),
    (lambda: Readout(bits=8, span=5.0), TypeError, "span must be the lowest and the highest level, got 5.0"),
    (lambda: Readout(bits=8, span=(1.0, 1.0)), ValueError, r"span\[1\] must be a finite number > 1"),
    (lambda: Readout(seed=-1), ValueError, "seed must be an integer >= 0"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
