"""Gradient descent: w -= lr g, with g the gradient plus decay w."""

from fastnn._compiler.jit import kernel

RATES = ()
N_MOMENTS = 0
IS_FUSED = True


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last."""
    for k in range(first, last):
        theta[k] -= lr * (gradient[k] + decay * theta[k])
