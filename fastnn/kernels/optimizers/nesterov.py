"""Nesterov's momentum: v = momentum v + g and w -= lr (g + momentum v), with g the gradient plus decay w."""

from fastnn._compiler.jit import kernel

RATES = ("momentum",)
N_MOMENTS = 1
IS_FUSED = False


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last."""
    momentum = rates[0]
    for k in range(first, last):
        g = gradient[k] + decay * theta[k]
        v = momentum * moments[0, k] + g
        moments[0, k] = v
        theta[k] -= lr * (g + momentum * v)
