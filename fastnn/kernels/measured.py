"""A step on a loss that can only be measured: where it is read, and what is made of the readings."""

import math
from enum import IntEnum
from typing import NamedTuple

from numpy import ndarray

from fastnn._compiler.jit import kernel
from fastnn.kernels.devices import HIGH, LOW, READING, write
from fastnn.kernels.devices import STEP as WRITTEN_BY_STEP
from fastnn.kernels.directions import fill_direction, has_base, prepare, weigh
from fastnn.kernels.estimators import CALIBRATION, Kind
from fastnn.kernels.optimizers import Update, update
from fastnn.kernels.readings import read_loss
from fastnn.kernels.vectors import largest_size

# Entries of the gains, see `rate_at` and `nudge_at`; ROUNDING is the relative one of the weights' dtype, LEVEL
# the distance of devices' levels if all nudges are made whole numbers of it, else 0.
N_GAINS = 7
A, SHIFT, ALPHA, C, GAMMA, ROUNDING, LEVEL = range(N_GAINS)
# Columns of the history, which has a row a step.
N_COLUMNS = 7
QUERIES, LOSS, STEP, RATE, NUDGE, ACCEPTED, MEASURED = range(N_COLUMNS)
# Steps in a row that are lost before a search ends: if each tenth query fails, one of 10^7 is the last of so many.
MAX_LOST = 10


class Ended(IntEnum):
    """How a step ended."""

    WELL = 0
    FAILED = 1  # more than half of its queries
    DIVERGED = 2  # a weight is not finite
    FROZEN = 3  # the next nudge is below the rounding of the largest weight
    LOST = 4  # of each direction a reading failed, so that nothing moved


class Board(NamedTuple):
    """Devices that the weights are on; vectors of none without."""

    numbers: ndarray  # (devices.N_NUMBERS,) float64
    gains: ndarray  # (n_parameters,) in the weights' dtype, as the others
    settings: ndarray  # (n_parameters,) what nudges are added to
    acting: ndarray  # (n_parameters,) what is read where nothing is nudged


class Room(NamedTuple):
    """What a step works in, and what belongs to a sweep."""

    order: ndarray  # (n_rows,) or, for all coordinates in turn, (n_parameters,) int64
    held: ndarray  # (4,) int64: of which sweep the order is; of which stream, step and index the direction; or -1
    columns: ndarray  # (n_parameters,) signs of a code's columns
    direction: ndarray  # (n_parameters,)
    gradient: ndarray  # (n_parameters,)
    readings: ndarray  # (n_readings,)
    before: ndarray  # (n_parameters,) the weights before the step, in their dtype


@kernel
def rate_at(gains, step):
    """Return a / (A + step + 1)**alpha, the steps counted from 0."""
    return gains[A] / (gains[SHIFT] + step + 1.0) ** gains[ALPHA]


@kernel
def nudge_at(gains, step):
    """Return c / (step + 1)**gamma, or the nearest whole number of levels, one at least."""
    nudge = gains[C] / (step + 1.0) ** gains[GAMMA]
    if gains[LEVEL] > 0.0:
        nudge = max(round(nudge / gains[LEVEL]), 1.0) * gains[LEVEL]
    return nudge


@kernel
def write_point(plan, step, index, number, board, point):
    """Write the settings of a reading onto devices, which makes of them what acts; that of those that stay is there."""
    own = READING + number + (2**31 if plan.stream == CALIBRATION else 0)
    if index >= 0:
        write(board.numbers, board.gains, step, own, 0, point.size, point, point, point)
    for k in range(point.size):
        if board.gains[k] == 0.0 or (index < 0 and point[k] == board.settings[k]):
            point[k] = board.acting[k]
        elif index < 0:  # taken away from a bound
            write(board.numbers, board.gains, step, own, k, k + 1, point, point, point)


@kernel(cached=True)
def place_points(plan, step, gains, theta, bounds, board, room, first, points):
    """Write where a step's readings from number `first` on are taken, a row each.

    With bounds, (2, n_parameters) or of no rows, they lie around weights that are taken a nudge inside. With devices,
    which have bounds of their own, around their settings, and they are what acts.
    """
    nudge, place = nudge_at(gains, step), prepare(plan, step, room)
    on_devices, is_bounded = board.gains.size > 0, bounds.size > 0
    if on_devices:
        theta = board.settings
    low, high = board.numbers[LOW], board.numbers[HIGH]
    for row in range(len(points)):
        number = first + row
        if plan.is_central:
            index, shift = number // 2, nudge if number % 2 == 0 else -nudge
        else:
            index, shift = number - has_base(plan), nudge
        is_dense = index >= 0 and plan.kind != Kind.COORDINATE
        if is_dense:
            fill_direction(plan, step, place, index, room)
        if is_bounded or on_devices:
            for k in range(theta.size):
                if is_bounded:
                    low, high = bounds[0, k], bounds[1, k]
                value = min(max(theta[k], low + nudge), high - nudge)
                if is_dense:
                    value = min(max(value + shift * room.direction[k], low), high)
                points[row, k] = value
        elif is_dense:
            for k in range(theta.size):
                points[row, k] = theta[k] + shift * room.direction[k]
        else:
            for k in range(theta.size):
                points[row, k] = theta[k]
        if index >= 0 and plan.kind == Kind.COORDINATE:
            k = room.order[place + index]
            points[row, k] += shift
            if is_bounded:  # a nudge from a bound and back may be beyond it by rounding
                points[row, k] = min(max(points[row, k], bounds[0, k]), bounds[1, k])
        if on_devices:
            write_point(plan, step, index, number, board, points[row])


@kernel
def settle(reading, serial, answers, readings):
    """Make readings of answers, `repeats` each, the first of them query number `serial`; return how many failed."""
    failed = 0
    for k in range(readings.size):
        total, n_good = 0.0, 0
        for number in range(k * reading.repeats, (k + 1) * reading.repeats):
            value = answers[number]
            if not math.isfinite(value):
                failed += 1
                continue
            total += read_loss(reading, serial + number, value)
            n_good += 1
        readings[k] = total / n_good if n_good else math.nan
    return failed


@kernel
def estimate(plan, step, gains, room):
    """Make a gradient of the readings, from the directions whose readings are there; return how many those are."""
    nudge, place = nudge_at(gains, step), prepare(plan, step, room)
    gradient, size = room.gradient, room.gradient.size
    n_good = 0
    if plan.kind == Kind.COORDINATE:
        gradient[:] = 0.0
    for index in range(plan.q):
        weight = weigh(plan, nudge, room.readings, index)
        if not math.isfinite(weight):
            continue
        n_good += 1
        if plan.kind == Kind.COORDINATE:
            gradient[room.order[place + index]] = weight * (size / plan.q)
            continue
        fill_direction(plan, step, place, index, room)
        if n_good == 1:
            for k in range(size):
                gradient[k] = weight * room.direction[k]
        else:
            for k in range(size):
                gradient[k] += weight * room.direction[k]
    if plan.kind != Kind.COORDINATE and n_good > 1:
        for k in range(size):
            gradient[k] /= n_good
    return n_good


@kernel
def distance(a, b):
    """Return the Euclidean distance of two vectors, by four sums, which wait for one another less than one's terms."""
    whole = a.size - a.size % 4
    w = x = y = z = 0.0
    for k in range(0, whole, 4):
        w += (a[k] - b[k]) ** 2
        x += (a[k + 1] - b[k + 1]) ** 2
        y += (a[k + 2] - b[k + 2]) ** 2
        z += (a[k + 3] - b[k + 3]) ** 2
    for k in range(whole, a.size):
        w += (a[k] - b[k]) ** 2
    return math.sqrt((w + x) + (y + z))


@kernel(cached=True)
def finish_step(plan, step, gains, optimizer, reading, serial, answers, bounds, board, room, theta, history):
    """Take a step by the answers to its queries, write its row of the history; return how many failed, and `Ended`."""
    failed = settle(reading, serial, answers, room.readings)
    if 2 * failed > answers.size:
        return failed, Ended.FAILED.value
    total, n_finite = 0.0, 0
    for value in room.readings:
        if math.isfinite(value):
            total += value
            n_finite += 1
    n_good = estimate(plan, step, gains, room)
    rate = rate_at(gains, step)
    for k in range(theta.size):  # copied as slices it would need references counted
        room.before[k] = theta[k]
    if n_good:
        decay = optimizer.weight_decay  # of all weights: which are biases, nobody says
        timed = Update(optimizer.code, rate, decay, math.inf, optimizer.rates, optimizer.moments)
        update(timed, step + 1, decay, 0, theta.size, room.gradient, theta)
    if bounds.size:
        for k in range(theta.size):
            theta[k] = min(max(theta[k], bounds[0, k]), bounds[1, k])
    largest = largest_size(theta)
    if not math.isfinite(largest):
        for k in range(theta.size):
            theta[k] = room.before[k]
        return failed, Ended.DIVERGED.value
    if board.gains.size > 0:
        numbers, settings, acting = board.numbers, board.settings, board.acting
        write(numbers, board.gains, step + 1, WRITTEN_BY_STEP, 0, theta.size, theta, settings, acting)
    history[step, QUERIES] = serial + answers.size
    history[step, LOSS] = total / n_finite
    history[step, STEP] = distance(theta, room.before)
    history[step, RATE] = rate
    history[step, NUDGE] = nudge_at(gains, step)
    history[step, ACCEPTED] = 1.0
    history[step, MEASURED] = math.nan
    if nudge_at(gains, step + 1) < gains[ROUNDING] * largest:
        return failed, Ended.FROZEN.value
    return failed, Ended.WELL.value if n_good else Ended.LOST.value


@kernel
def fold(mean, theta, count):
    """Make the mean of the weights after count - 1 steps that after one more."""
    for k in range(theta.size):
        mean[k] += (theta[k] - mean[k]) / count
