"""RMSprop: w -= lr g / (sqrt(s) + epsilon), s the running mean of g * g, g the gradient plus decay w."""

import math

from fastnn._compiler.jit import kernel

RATES = ("alpha", "epsilon")
N_MOMENTS = 1
IS_FUSED = False


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last."""
    alpha, epsilon = rates[0], rates[1]
    for k in range(first, last):
        g = gradient[k] + decay * theta[k]
        moments[0, k] = alpha * moments[0, k] + (1.0 - alpha) * g * g
        theta[k] -= lr * (g / (math.sqrt(moments[0, k]) + epsilon))
