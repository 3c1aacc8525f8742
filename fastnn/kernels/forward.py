"""The forward pass over a block of samples."""

from fastnn._jit import kernel
from fastnn.kernels.activations import activate
from fastnn.kernels.layout import biases, weights
from fastnn.kernels.losses import count_correct, sample_loss
from fastnn.kernels.products import add_product
from fastnn.kernels.work import SLOPE, A, Z, values


@kernel
def load(layout, data, block, first, last, work):
    """Copy samples first to last of the block, counted from block.start in its row of data.order."""
    x = values(layout, work, A, 0, block.n_samples)
    for n in range(first, last):
        source = data.order[block.row, block.start + n]
        for i in range(x.shape[1]):
            x[n, i] = data.x[source, i]
        for k in range(work.y.shape[1]):
            work.y[n, k] = data.y[source, k]


@kernel
def forward(layout, theta, n_samples, first, last, work):
    """Write z, a and slope of every level for samples first to last; the inputs stand in level 0."""
    for layer in range(layout.activations.size):
        before = values(layout, work, A, layer, n_samples)
        z = values(layout, work, Z, layer + 1, n_samples)
        a = values(layout, work, A, layer + 1, n_samples)
        slope = values(layout, work, SLOPE, layer + 1, n_samples)
        b = biases(layout, theta, layer)
        for n in range(first, last):
            for k in range(b.size):
                z[n, k] = b[k]
        add_product(before, weights(layout, theta, layer), first, last, z)
        for n in range(first, last):
            activate(layout.activations[layer], z[n], a[n], slope[n])


@kernel
def measure(layout, loss, n_samples, first, last, work):
    """Write the loss and the number of right decisions of samples first to last."""
    top = layout.activations.size
    z = values(layout, work, Z, top, n_samples)
    a = values(layout, work, A, top, n_samples)
    for n in range(first, last):
        work.measured[n, 0] = sample_loss(loss, z[n], a[n], work.y[n])
        work.measured[n, 1] = count_correct(loss, a[n], work.y[n])
