"""Descent along signs: w -= lr sign(g), with g the gradient plus decay w."""

from fastnn._compiler.jit import kernel

RATES = ()
N_MOMENTS = 0
IS_FUSED = False


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last; those without a slope stay, and nan stays nan."""
    for k in range(first, last):
        g = gradient[k] + decay * theta[k]
        theta[k] -= lr * (1.0 if g > 0.0 else -1.0 if g < 0.0 else g)
