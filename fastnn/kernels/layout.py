"""Where each layer's numbers stand in the flat vectors."""

from typing import NamedTuple

from numpy import ndarray

from fastnn._compiler.jit import kernel, line, view

# Rows of Layout.traits, a column a layer: 1 where all its units have one and the same bias; in how many of WHOLE steps
# one of its inputs is there, 0 for all; and, in each column, the key by which that is drawn.
TRAITS = 3
SHARED_BIAS, PRESENT, KEY = range(TRAITS)
WHOLE = 2**53


class Layout(NamedTuple):
    """A network's architecture, as kernels see it: int64 arrays.

    Few arrays: each more costs every kernel 0.1 s of compile time.
    """

    sizes: ndarray  # (n_layers + 1,) units per level, the inputs first
    starts: ndarray  # (2, n_layers + 1) units of the levels, and parameters of the layers, before each
    activations: ndarray  # (n_layers,) Activation codes
    traits: ndarray  # (TRAITS, n_layers), see SHARED_BIAS and on


@kernel
def weights_start(layout, layer):
    """Return where layer's W starts in theta; its b follows it."""
    return layout.starts[1, layer]


@kernel(returns_view=True)
def weights(layout, theta, layer):
    """Return layer's W, (n_in, n_out), a view of theta."""
    n_in = layout.sizes[layer]
    n_out = layout.sizes[layer + 1]
    start = weights_start(layout, layer)
    return view(theta, start, n_in, n_out)


@kernel(returns_view=True)
def biases(layout, theta, layer):
    """Return layer's b, (n_out,), a view of theta."""
    n_out = layout.sizes[layer + 1]
    start = weights_start(layout, layer) + layout.sizes[layer] * n_out
    return line(theta, start, n_out)


@kernel(returns_view=True)
def level_values(layout, buffer, row, level, n_samples):
    """Return a level's values, (n_samples, n_units), a view of one row of a buffer."""
    start = row * buffer.shape[1] + layout.starts[0, level] * n_samples
    return view(buffer, start, n_samples, layout.sizes[level])
