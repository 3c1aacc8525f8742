"""Adam: w -= lr m / (sqrt(s) + epsilon), m and s the running means of g and g * g, g the gradient plus decay w."""

import math

from fastnn._compiler.jit import kernel

RATES = ("beta1", "beta2", "epsilon")
N_MOMENTS = 2
IS_FUSED = False


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last; means are corrected for their start at 0."""
    beta1, beta2, epsilon = rates[0], rates[1], rates[2]
    correction1 = 1.0 - beta1**step
    correction2 = 1.0 - beta2**step
    for k in range(first, last):
        g = gradient[k] + decay * theta[k]
        moments[0, k] = beta1 * moments[0, k] + (1.0 - beta1) * g
        moments[1, k] = beta2 * moments[1, k] + (1.0 - beta2) * g * g
        theta[k] -= lr * (moments[0, k] / correction1) / (math.sqrt(moments[1, k] / correction2) + epsilon)
