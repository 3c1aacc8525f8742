"""AdamW: w -= lr decay w, then Adam's step, whose gradient is that of the loss alone."""

from fastnn._compiler.jit import kernel
from fastnn.kernels.optimizers import adam

RATES = adam.RATES
N_MOMENTS = adam.N_MOMENTS
IS_FUSED = False


@kernel
def move(step, lr, decay, rates, moments, first, last, gradient, theta):
    """Move parameters first to last."""
    for k in range(first, last):
        theta[k] *= 1.0 - lr * decay
    adam.move(step, lr, 0.0, rates, moments, first, last, gradient, theta)
