"""Optimiser steps on flat vectors.

A new optimiser is a member of `Optimizer`, a branch in `update`, and a dataclass
in `fastnn.training.optimizers` that fills `Update.rates`.
"""

import math
from enum import IntEnum
from typing import NamedTuple

from numpy import ndarray

from fastnn._compiler.jit import kernel

# Entries of Update.rates; the last three are Adam's.
N_RATES = 6
LR, WEIGHT_DECAY, MOMENTUM, BETA1, BETA2, EPSILON = range(N_RATES)


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
    rates: ndarray  # (N_RATES,) float64, see LR and on; 0 for another optimiser
    moments: ndarray  # (n_moments, n_parameters) running averages, in the network's dtype


@kernel
def is_fused(optimizer, block):
    """Return if gradients are added to the weights as they are found, times -lr: plain SGD, a batch of one block.

    Not with weight decay: nothing but the gradient moves the weights then.
    """
    return optimizer.code == Optimizer.SGD and optimizer.rates[WEIGHT_DECAY] == 0.0 and block.opens and block.closes


@kernel
def target(optimizer, block, theta, gradient):
    """Return the vector that gradients are added to, and what they are multiplied by."""
    if is_fused(optimizer, block):
        return theta, -optimizer.rates[LR]
    return gradient, 1.0


@kernel
def update(optimizer, step, decay, first, last, gradient, theta):
    """Move parameters first to last, decay of each added to its gradient: the step number `step`, counted from 1."""
    rates, moments = optimizer.rates, optimizer.moments
    lr = rates[LR]
    if optimizer.code == Optimizer.SGD:
        for k in range(first, last):
            theta[k] -= lr * (gradient[k] + decay * theta[k])
    elif optimizer.code == Optimizer.ADAM:
        beta1, beta2, epsilon = rates[BETA1], rates[BETA2], rates[EPSILON]
        correction1 = 1.0 - beta1**step
        correction2 = 1.0 - beta2**step
        for k in range(first, last):
            g = gradient[k] + decay * theta[k]
            moments[0, k] = beta1 * moments[0, k] + (1.0 - beta1) * g
            moments[1, k] = beta2 * moments[1, k] + (1.0 - beta2) * g * g
            theta[k] -= lr * (moments[0, k] / correction1) / (math.sqrt(moments[1, k] / correction2) + epsilon)
    elif optimizer.code != Optimizer.NONE:
        momentum = rates[MOMENTUM]
        for k in range(first, last):
            g = gradient[k] + decay * theta[k]
            v = momentum * moments[0, k] + g
            moments[0, k] = v
            theta[k] -= lr * (g + momentum * v if optimizer.code == Optimizer.NESTEROV else v)
