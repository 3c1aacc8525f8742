"""Networks written for PyTorch and as ONNX files; each library is imported when it is asked for."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastnn._support import files
from fastnn._support.validate import Array, optional
from fastnn.interop.kinds import KINDS, activation_behind, rnn
from fastnn.kernels.activations.leaky_relu import SLOPE_BELOW as LEAKY_SLOPE
from fastnn.model.layers import RNN, Embedding, Layer

# PyTorch's softplus is the identity above a threshold, 20 by default: off by exp(-20).
# Above 40 nothing is left to be off by.
SOFTPLUS_THRESHOLD = 40.0
# The oldest operator set that has every operator below in float64, and what reads it.
ONNX_OPSET, ONNX_IR = 17, 8
ONNX_OPERATORS = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "softplus": "Softplus",
    "softmax": "Softmax",
}


def walk(
    input_shape: tuple[int, ...], layers: Sequence[Layer], weights: Sequence[Array]
) -> Iterator[tuple[Layer, list[Array], tuple[int, ...]]]:
    """Yield each layer with its weights and the shape of a sample below, flattened ones being the image they were.

    Raises
    ------
    TypeError
        If a layer has no counterpart elsewhere.
    """
    for layer in layers:
        if type(layer) not in KINDS or (isinstance(layer, RNN) and layer.activation not in rnn.ACTIVATIONS):
            raise TypeError(
                f"networks with {layer} go to no other library; those of {', '.join(k.__name__ for k in KINDS)} do, "
                f"of RNN with {' or '.join(rnn.ACTIVATIONS)}"
            )
    left, below = iter(weights), input_shape
    for layer in layers:
        kind = KINDS[type(layer)]
        yield layer, [next(left) for _ in layer.parameters], below
        below = kind.shape(layer, below)


def to_torch(input_shape: tuple[int, ...], layers: Sequence[Layer], weights: Sequence[Array]) -> Any:
    """Return a `torch.nn.Sequential` of these layers, their weights `[W1, b1, ...]`; see `fastnn.Network.to_torch`."""
    walked = list(walk(input_shape, layers, weights))
    with optional("to_torch", "torch"):
        import torch
        from torch import nn

    make = {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
        "elu": nn.ELU,
        "softplus": lambda: nn.Softplus(threshold=SOFTPLUS_THRESHOLD),
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "hard_sigmoid": nn.Hardsigmoid,
        "softmax": lambda: nn.Softmax(dim=-1),
    }
    dtype = getattr(torch, weights[0].dtype.name)
    modules: list[Any] = []
    for layer, arrays, below in walked:
        kind = KINDS[type(layer)]
        made = [module.to(dtype) for module in kind.to_torch(nn, layer, below)]
        with torch.no_grad():
            for parameter, array in zip(
                (parameter for module in made for parameter in module.parameters()),
                kind.to_others(arrays, below),
                strict=True,
            ):
                parameter.copy_(torch.from_numpy(array.copy()))
        modules += made
        activation = activation_behind(layer)
        if activation != "identity":
            modules.append(make[activation]())
    return nn.Sequential(*modules)


class Graph:
    """An ONNX graph in the making: values have names, X is the input."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        from onnx import helper

        output = output or f"v{len(self.nodes) + 1}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def split(self, value: str, n_parts: int) -> list[str]:
        """Add what splits the features of a value into equal parts, and return their names."""
        from onnx import helper

        parts = [f"v{len(self.nodes) + 1}_{k + 1}" for k in range(n_parts)]
        self.nodes.append(helper.make_node("Split", [value], parts, axis=1))
        return parts

    def constant(self, array: Array, name: str = "") -> str:
        """Add a constant, numbers in the graph's dtype, and return its name."""
        from onnx import numpy_helper

        name = name or f"c{len(self.constants) + 1}"
        array = array.astype(self.dtype if array.dtype.kind == "f" else np.int64, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def to_onnx(
    input_shape: tuple[int, ...], layers: Sequence[Layer], weights: Sequence[Array], path: str | os.PathLike[str]
) -> None:
    """Write an ONNX file of these layers, their weights `[W1, b1, ...]`; see `fastnn.Network.to_onnx`."""
    walked = list(walk(input_shape, layers, weights))
    with optional("to_onnx", "onnx"):
        import onnx
        from onnx import helper

    graph = Graph(weights[0].dtype)
    number = helper.np_dtype_to_tensor_dtype(graph.dtype)
    inputs = onnx.TensorProto.INT64 if isinstance(layers[0], Embedding) else number
    value = graph.add("Transpose", ["X"], perm=(0, 3, 1, 2)) if len(input_shape) == 3 else "X"
    for k, (layer, arrays, below) in enumerate(walked, start=1):
        kind = KINDS[type(layer)]
        names = [
            graph.constant(array, f"{name}{k}")
            for name, array in zip(
                ("W", "b") if len(arrays) < 3 else ("W", "U", "b", "b_u"), kind.to_others(arrays, below), strict=False
            )
        ]
        value = kind.to_onnx(graph, layer, names, below, value)
        value = _add_activation(graph, activation_behind(layer), value)
    graph.add("Identity", [value], "Y")
    shape = KINDS[type(layer)].shape(layer, below)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "fastnn",
            [helper.make_tensor_value_info("X", inputs, ["batch", *input_shape])],
            [helper.make_tensor_value_info("Y", number, ["batch", *shape])],
            graph.constants,
        ),
        producer_name="fastnn",
        opset_imports=[helper.make_opsetid("", ONNX_OPSET)],
        ir_version=ONNX_IR,
    )
    onnx.checker.check_model(model, full_check=True)
    files.replace(path, model.SerializeToString())


def _add_activation(graph: Graph, activation: str, z: str) -> str:
    """Add what computes an activation of z, and return its name.

    onnxruntime has LeakyRelu, Elu and Softplus in float32 only, so that in float64 they are made of
    max(z, 0.01 z), of max(z, 0) + exp(min(z, 0)) - 1, and of max(z, 0) + log(1 + exp(-abs(z))). For
    silu there is an operator from set 24 on; it is z times Sigmoid. HardSigmoid is in float32 only, too, and
    hard_sigmoid is min(max(z + 3, 0), 6) / 6; so is Erf, for which float64 has nothing else.
    """
    add = graph.add
    if activation == "identity":
        return z
    if activation == "silu":
        return add("Mul", [z, add("Sigmoid", [z])])
    if activation == "gelu":
        if graph.dtype == np.float64:
            raise TypeError("gelu goes to no ONNX file in float64, where onnxruntime has no Erf: take dtype='float32'")
        half, one, root = (graph.constant(np.array(value, graph.dtype)) for value in (0.5, 1.0, 2.0**-0.5))
        share = add("Mul", [half, add("Add", [one, add("Erf", [add("Mul", [z, root])])])])
        return add("Mul", [z, share])
    if activation == "hard_sigmoid":
        zero, three, six = (graph.constant(np.array(value, graph.dtype)) for value in (0.0, 3.0, 6.0))
        return add("Div", [add("Min", [add("Max", [add("Add", [z, three]), zero]), six]), six])
    if graph.dtype == np.float64 and activation == "leaky_relu":
        return add("Max", [z, add("Mul", [z, graph.constant(np.array(LEAKY_SLOPE))])])
    if graph.dtype == np.float64 and activation in ("elu", "softplus"):
        zero, one = graph.constant(np.array(0.0)), graph.constant(np.array(1.0))
        above = add("Max", [z, zero])
        if activation == "elu":
            return add("Add", [above, add("Sub", [add("Exp", [add("Min", [z, zero])]), one])])
        return add("Add", [above, add("Log", [add("Add", [add("Exp", [add("Neg", [add("Abs", [z])])]), one])])])
    attributes: dict[str, dict[str, Any]] = {"leaky_relu": {"alpha": LEAKY_SLOPE}, "softmax": {"axis": -1}}
    return add(ONNX_OPERATORS[activation], [z], **attributes.get(activation, {}))
