"""Optimiser steps on flat vectors.

A new optimiser is a member of `Optimizer`, a branch in `update`, and a dataclass
in `fastnn.optimizers` that fills `Update.rates`.
"""

import math
from enum import IntEnum
from typing import NamedTuple

from numpy import ndarray

from fastnn._jit import kernel


class Optimizer(IntEnum):
    """How a gradient becomes a step."""

    NONE = 0
    SGD = 1
    MOMENTUM = 2
    NESTEROV = 3
    ADAM = 4


class Update(NamedTuple):
    """An optimiser and its state, as kernels see them."""

    code: int  # Optimizer
    rates: ndarray  # (4,) float64, what they are depends on the code: see `update`
    moments: ndarray  # (n_moments, n_parameters) running averages, in the network's dtype


@kernel
def is_fused(optimizer, block):
    """Return if gradients are added to the weights as they are found, times -lr: plain SGD, a batch of one block."""
    return optimizer.code == Optimizer.SGD and block.opens and block.closes


@kernel
def target(optimizer, block, theta, gradient):
    """Return the vector that gradients are added to, and what they are multiplied by."""
    if is_fused(optimizer, block):
        return theta, -optimizer.rates[0]
    return gradient, 1.0


@kernel
def update(optimizer, step, first, last, gradient, theta):
    """Move parameters first to last: the step number `step`, counted from 1."""
    rates, moments = optimizer.rates, optimizer.moments
    lr = rates[0]
    if optimizer.code == Optimizer.SGD:
        for k in range(first, last):
            theta[k] -= lr * gradient[k]
    elif optimizer.code == Optimizer.ADAM:
        decay1, decay2, epsilon = rates[1], rates[2], rates[3]
        correction1 = 1.0 - decay1**step
        correction2 = 1.0 - decay2**step
        for k in range(first, last):
            g = gradient[k]
            moments[0, k] = decay1 * moments[0, k] + (1.0 - decay1) * g
            moments[1, k] = decay2 * moments[1, k] + (1.0 - decay2) * g * g
            theta[k] -= lr * (moments[0, k] / correction1) / (math.sqrt(moments[1, k] / correction2) + epsilon)
    elif optimizer.code != Optimizer.NONE:
        momentum = rates[1]
        for k in range(first, last):
            g = gradient[k]
            v = momentum * moments[0, k] + g
            moments[0, k] = v
            theta[k] -= lr * (g + momentum * v if optimizer.code == Optimizer.NESTEROV else v)
