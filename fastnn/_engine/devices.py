"""Weights as devices keep them: how an optimiser carries those of a network, and what Python calls of their kernels."""

from typing import Any

import numpy as np

from fastnn._compiler.jit import entry_point
from fastnn._support.validate import Array
from fastnn.kernels import devices as kernels
from fastnn.kernels.devices import ACTING, CODE, GAINS, N_NUMBERS, N_ROWS, WANTED
from fastnn.kernels.optimizers import Optimizer, Update


@entry_point
def draw_gains(numbers, spread, stuck, gains):
    """See `fastnn.kernels.devices.draw_gains`."""
    kernels.draw_gains(numbers, spread, stuck, gains)


@entry_point
def write(numbers, gains, step, index, wanted, settings, acting):
    """See `fastnn.kernels.devices.write`; all weights."""
    kernels.write(numbers, gains, step, index, 0, gains.size, wanted, settings, acting)


@entry_point
def write_stuck(numbers, gains, wanted, settings, acting):
    """See `fastnn.kernels.devices.write_stuck`; all weights."""
    kernels.write_stuck(numbers, gains, 0, gains.size, wanted, settings, acting)


@entry_point
def write_changed(numbers, gains, unwritten, step, wanted, acting, theta):
    """See `fastnn.kernels.devices.write_changed`."""
    kernels.write_changed(numbers, gains, unwritten, step, wanted, acting, theta)


@entry_point
def read(numbers, number, acting, out):
    """See `fastnn.kernels.devices.read`; all weights."""
    kernels.read(numbers, number, 0, acting.size, acting, out)


def put_on_devices(update: Update, numbers: Array, gains: Array) -> Update:
    """Return what carries an optimiser's state and devices on which nothing is written yet."""
    rows = np.zeros((N_ROWS, gains.size), update.moments.dtype)
    rows[GAINS], rows[ACTING] = gains, _find_unwritten(rows)
    numbers = numbers.copy()
    numbers[CODE] = update.code
    rates, moments = np.concatenate([update.rates, numbers]), np.concatenate([update.moments, rows])
    return update._replace(code=int(Optimizer.NONE), rates=rates, moments=moments)


def has_devices(update: Update) -> bool:
    """Return whether an optimiser carries devices."""
    return update.code == Optimizer.NONE and update.moments.size > 0


def write_weights(update: Update, step: int, theta: Array) -> None:
    """Write a network's weights onto its devices, as far as they are not there; they are what acts then."""
    rows = update.moments[-N_ROWS:]
    write_changed(_numbers(update), rows[GAINS], _find_unwritten(rows), step, rows[WANTED], rows[ACTING], theta)


def read_weights(update: Update, step: int, theta: Array) -> None:
    """Have a network's weights be what they are read as in a step, counted from 1."""
    read(_numbers(update), step, update.moments[ACTING - N_ROWS], theta)


def end_reading(update: Update, theta: Array) -> None:
    """Have a network's weights be what acts, without what a reading adds."""
    theta[:] = update.moments[ACTING - N_ROWS]


def _numbers(update: Update) -> Array:
    return update.rates[-N_NUMBERS:]


def _find_unwritten(rows: Array) -> Any:
    """Return what stands for a weight that is not written yet: no weight is so large."""
    return np.finfo(rows.dtype).max
