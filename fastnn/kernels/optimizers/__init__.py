"""Optimisers, a file each: how a gradient becomes a step, on flat vectors.

A new one is a file with the same names as the others, and two lines here: its member of
`Optimizer` and its entry in `MODULES`. A file has, in this order,

- ``RATES``: its own numbers, by the names that they have in its dataclass in `fastnn.training.optimizers`, in the
  order of ``rates``; the learning rate and weight decay are everybody's;
- ``N_MOMENTS``: how many numbers it remembers of each parameter;
- ``IS_FUSED``: whether a step is -lr times the gradient and nothing else: see `is_fused`;
- ``move(step, lr, decay, rates, moments, first, last, gradient, theta)``: moves parameters first to last of
  theta (n_parameters,) by their gradient, of the same shape, and brings moments (N_MOMENTS, n_parameters) up to
  date. step counts from 1; decay is what weights shrink by, 0 for biases.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from fastnn._compiler.jit import by_code, kernel, shared
from fastnn.kernels.optimizers import adagrad, adam, adamw, momentum, nesterov, rmsprop, sgd, sign_sgd


class Optimizer(IntEnum):
    """How a gradient becomes a step."""

    NONE = 0  # not at all: parameters stay
    SGD = 1
    MOMENTUM = 2
    NESTEROV = 3
    ADAM = 4
    RMSPROP = 5
    ADAMW = 6
    SIGN_SGD = 7
    ADAGRAD = 8


MODULES = {
    Optimizer.SGD: sgd,
    Optimizer.MOMENTUM: momentum,
    Optimizer.NESTEROV: nesterov,
    Optimizer.ADAM: adam,
    Optimizer.RMSPROP: rmsprop,
    Optimizer.ADAMW: adamw,
    Optimizer.SIGN_SGD: sign_sgd,
    Optimizer.ADAGRAD: adagrad,
}
_ARE_FUSED = np.array([code in MODULES and MODULES[code].IS_FUSED for code in Optimizer])


class Update(NamedTuple):
    """An optimiser and its state, as kernels see them."""

    code: int  # Optimizer
    lr: float
    weight_decay: float
    clip_norm: float  # what the gradient is clipped to, inf if it is not
    rates: ndarray  # (n_rates,) float64, the optimiser's own, see RATES
    moments: ndarray  # (n_moments, n_parameters) in the network's dtype


_move = by_code(
    "_move",
    "step, lr, decay, rates, moments, first, last, gradient, theta",
    {code: module.move for code, module in MODULES.items()},
)


@kernel
def is_fused(optimizer, block):
    """Return if gradients are added to the weights as they are found, times -lr: plain SGD, a batch of one block.

    One rule: whatever else moves the weights, such as weight decay, is asked for here and switches it off.
    """
    is_plain = optimizer.weight_decay == 0.0 and optimizer.clip_norm == math.inf
    return _ARE_FUSED[optimizer.code] and is_plain and block.opens and block.closes


@kernel
def target(optimizer, block, theta, gradient):
    """Return the vector that gradients are added to, and what they are multiplied by."""
    if is_fused(optimizer, block):
        return theta, -optimizer.lr
    return gradient, 1.0


@shared
def update(optimizer, step, decay, first, last, gradient, theta):
    """Move parameters first to last, each with that weight decay: the step number `step`, counted from 1.

    Not yet, where the gradient is to be clipped: `clipping` does both.
    """
    if optimizer.code != Optimizer.NONE and optimizer.clip_norm == math.inf:
        lr, rates, moments = optimizer.lr, optimizer.rates, optimizer.moments
        _move(optimizer.code, step, lr, decay, rates, moments, first, last, gradient, theta)


@kernel(inline=True)
def move(optimizer, step, edges, are_biases, first, last, gradient, theta):
    """Move parameters first to last of arrays that begin at `edges` (n_arrays + 1,); biases do not decay."""
    for array in range(edges.size - 1):
        begin, end = max(edges[array], first), min(edges[array + 1], last)
        if begin < end:
            decay = 0.0 if are_biases[array] != 0 else optimizer.weight_decay
            update(optimizer, step, decay, begin, end, gradient, theta)
