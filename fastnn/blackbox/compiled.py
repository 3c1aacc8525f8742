"""What Python calls of the kernels, and the loop around a loss that is compiled itself."""

import numpy as np

from fastnn._compiler.jit import entry_point
from fastnn.kernels import devices, measured
from fastnn.kernels.devices import READ_NOISE
from fastnn.kernels.measured import MAX_LOST, Ended


@entry_point
def place_points(plan, step, gains, theta, bounds, board, room, first, points):
    """See `fastnn.kernels.measured.place_points`."""
    measured.place_points(plan, step, gains, theta, bounds, board, room, first, points)


@entry_point
def settle(reading, serial, answers, readings):
    """See `fastnn.kernels.measured.settle`."""
    return measured.settle(reading, serial, answers, readings)


@entry_point
def finish_step(plan, step, gains, optimizer, reading, serial, answers, bounds, board, room, theta, history):
    """See `fastnn.kernels.measured.finish_step`."""
    return measured.finish_step(
        plan, step, gains, optimizer, reading, serial, answers, bounds, board, room, theta, history
    )


@entry_point
def read_points(board, first, points):
    """Make of points, a row each, what the queries number `first` and on read."""
    for row in range(len(points)):
        devices.read(board.numbers, first + row, 0, points.shape[1], points[row], points[row])


@entry_point
def fold(mean, theta, count):
    """See `fastnn.kernels.measured.fold`."""
    measured.fold(mean, theta, count)


@entry_point(cached=False)
def run_steps(
    loss,
    plan,
    step,
    last,
    gains,
    optimizer,
    reading,
    serial,
    answers,
    bounds,
    board,
    room,
    theta,
    history,
    mean,
    first,
    reached,
):
    """Take steps, as Python does by the functions above; return how many queries failed, and `Ended`.

    Those that failed are of a step that could not be taken.
    `reached` (3,) is kept up to date, for a loss that raises: steps taken, queries failed in them, and how many of the
    last ones were lost. From step `first` on, `mean` is the mean of the weights.
    """
    points = np.empty((2 if plan.is_central else 1, theta.size), theta.dtype)
    is_noisy = board.gains.size > 0 and board.numbers[READ_NOISE] > 0.0
    is_repeated = reading.repeats > 1
    point = np.empty(theta.size if is_noisy or is_repeated else 0, theta.dtype)
    n_readings = answers.size // reading.repeats
    failed = 0
    while step < last:
        for number in range(0, n_readings, len(points)):
            measured.place_points(plan, step, gains, theta, bounds, board, room, number, points)
            for row in range(len(points)):
                for repeat in range(reading.repeats):
                    query = (number + row) * reading.repeats + repeat
                    if is_noisy:
                        devices.read(board.numbers, serial + query, 0, point.size, points[row], point)
                    elif is_repeated:  # the loss may write to what it is handed
                        for k in range(point.size):
                            point[k] = points[row, k]
                    if is_noisy or is_repeated:
                        answers[query] = loss(point)
                    else:
                        answers[query] = loss(points[row])
        n_failed, ended = measured.finish_step(
            plan, step, gains, optimizer, reading, serial, answers, bounds, board, room, theta, history
        )
        if ended == Ended.FAILED or ended == Ended.DIVERGED:
            return n_failed, ended
        failed += n_failed
        step += 1
        serial += answers.size
        if step > first:
            measured.fold(mean, theta, step - first)
        reached[0], reached[1] = step, failed
        reached[2] = reached[2] + 1 if ended == Ended.LOST else 0
        if ended == Ended.FROZEN or reached[2] == MAX_LOST:
            return 0, ended
    return 0, Ended.WELL.value
