"""Layers whose weights are shared, a file each, over images and sequences: below the dense layers, a sample at a time.

A new one is a file with the same names as the others, and two lines here: its member of `Kind` and its entry in
`MODULES`. A file has, in the order in which data flow,

- ``shape(below, ...)`` (for Python): what it makes of the level below;
- ``forward``: writes z, a and slope of a sample; noise is added to its sums z where there is any (`maps.add_noise`);
- ``back``: from the gradient with respect to what it puts out to that with respect to its inputs;
- ``add``: adds a sample's gradient with respect to a share of the weights: those that are met in a row of the kernel;
- ``reach``: how far perturbations move each channel at most, from how far they move those below;
- ``want``: lists which units below are to be computed, where it passes on only some (``selects``);
- ``start``: what perturbations of a channel's weights make of the units that are listed;
- ``carry``: what the changes below make of the units that are listed, exactly;
- ``pull``: from slopes with the units that are listed to those with what is listed below, of some quantities at once.

All but ``shape`` are units, called as ``(packed, Part)``. Without weights there is no ``add`` and no ``start``, and
where the inputs alone may be below, no ``back``, ``reach`` and ``carry``; only what can be made of straight lines
between kinks has a ``pull``. A change is carried in float64, never two
values subtracted; perturbations run innermost. A sequence is an image of one row. What is recurrent
has its ``forward`` and ``back`` called with some samples at a time, so that a step is a product of their rows, and
moves all its units by ``start`` and ``carry``; what such layers share is in `recurrent`.
"""

from enum import IntEnum

from fastnn.kernels.layers import average_pool, conv, embedding, gru, lstm, max_pool, repeat, rnn


class Kind(IntEnum):
    """What a layer below the dense ones does."""

    CONV = 0
    MAX_POOL = 1
    AVERAGE_POOL = 2
    REPEAT = 3
    RNN = 4
    LSTM = 5
    EMBEDDING = 6
    GRU = 7


MODULES = {
    Kind.CONV: conv,
    Kind.MAX_POOL: max_pool,
    Kind.AVERAGE_POOL: average_pool,
    Kind.REPEAT: repeat,
    Kind.RNN: rnn,
    Kind.LSTM: lstm,
    Kind.EMBEDDING: embedding,
    Kind.GRU: gru,
}
# Columns of Stem.units.
FUNCTIONS = ("forward", "back", "add", "reach", "want", "start", "carry", "pull")
FORWARD, BACK, ADD, REACH, WANT, START, CARRY, PULL = range(len(FUNCTIONS))
