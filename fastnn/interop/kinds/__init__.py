"""Layers as PyTorch and ONNX know them, a file each.

A new one is a file with the same names as the others, and here its import and its entry in `KINDS`. Others have
channels first and a layer's units before its inputs, and their activations apart; `below` is the shape of a
sample in the level below, here, channels last, of what is flattened as of the image that it was. A file has, in this
order,

- ``TORCH``: the class of torch.nn, or of `fastnn.interop.steps`, that does the same, and ``PARAMETERS``: the names
  there of its weights;
- ``shape(layer, below)``: what it makes of a level;
- ``to_others(arrays, below)`` and ``from_others(arrays, below)``: its weights, as others have them and back;
- ``to_torch(nn, layer, below)``: modules, of which one at most has weights;
- ``from_torch(module, arrays, below, padding)``: the layer that a module with these weights is, without activation,
  its inputs padded before by (left, right, top, bottom); raises ValueError with what fastnn does not have, to stand
  behind the module's name;
- ``to_onnx(graph, layer, arrays, below, value)``: adds what computes the layer, before its activation, with others'
  weights, from the value of that name; returns the name of what comes out;
- ``carry_error(layer, arrays, below, inputs, error)``: how far off the sums are where the inputs are by `error`, each
  sum of n products adding (n + 2) roundings.

A Flatten is read from others by `from_torch` itself; of an image it only says how what is above it reads that, as
every Dense does. A recurrent layer from there puts out all steps, until a LastStep stands behind it.
"""

from typing import Any

from fastnn.interop.kinds import (
    average_pool,
    conv,
    dense,
    dropout,
    embedding,
    flatten,
    gru,
    lstm,
    max_pool,
    repeat,
    rnn,
)
from fastnn.model.layers import (
    GRU,
    LSTM,
    RNN,
    AveragePool2D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    MaxPool2D,
    Repeat,
)

KINDS: dict[type, Any] = {
    Dense: dense,
    Conv2D: conv,
    MaxPool2D: max_pool,
    AveragePool2D: average_pool,
    Flatten: flatten,
    RNN: rnn,
    GRU: gru,
    LSTM: lstm,
    Repeat: repeat,
    Embedding: embedding,
    Dropout: dropout,
}


def activation_behind(layer: Any) -> str:
    """Return the activation of a layer that others have apart."""
    return "identity" if isinstance(layer, RNN) else getattr(layer, "activation", "identity")
