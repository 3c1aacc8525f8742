"""Adagrad: w -= lr g / (sqrt(s) + epsilon), s the sum of g * g over all steps, g the gradient plus decay w."""

import math

from fastnn._compiler.jit import kernel

RATES = ("epsilon",)
N_MOMENTS = 1
IS_FUSED = False


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last."""
    epsilon = rates[0]
    for k in range(first, last):
        g = gradient[k] + decay * theta[k]
        moments[0, k] += g * g
        theta[k] -= lr * (g / (math.sqrt(moments[0, k]) + epsilon))
