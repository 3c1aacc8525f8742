"""Networks written for PyTorch and as ONNX files; each library is imported when it is asked for."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._support import files
from fastnn._support.validate import Array
from fastnn.kernels.activations.leaky_relu import SLOPE_BELOW as LEAKY_SLOPE
from fastnn.model.layers import Dense

# PyTorch's softplus is the identity above a threshold, 20 by default: off by exp(-20).
# Above 40 nothing is left to be off by.
SOFTPLUS_THRESHOLD = 40.0
# The oldest operator set that has every operator below in float64, and what reads it.
ONNX_OPSET, ONNX_IR = 17, 8
ONNX_CONSTANTS = {"zero": 0.0, "one": 1.0, "leaky_slope": LEAKY_SLOPE}
ONNX_OPERATORS = {
    "identity": "Identity",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "softplus": "Softplus",
    "softmax": "Softmax",
}


def to_torch(layers: Sequence[Dense], weights: list[Array]) -> Any:
    """Return a `torch.nn.Sequential` of these layers, their weights `[W1, b1, ...]`; see `fastnn.Network.to_torch`."""
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
        "softmax": lambda: nn.Softmax(dim=-1),
    }
    dtype = getattr(torch, weights[0].dtype.name)
    modules: list[Any] = []
    for w, b, layer in zip(weights[::2], weights[1::2], layers, strict=True):
        linear = nn.Linear(*w.shape, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        modules.append(linear)
        if layer.activation != "identity":
            modules.append(make[layer.activation]())
    return nn.Sequential(*modules)


def to_onnx(layers: Sequence[Dense], weights: list[Array], path: str | os.PathLike[str]) -> None:
    """Write an ONNX file of these layers, their weights `[W1, b1, ...]`; see `fastnn.Network.to_onnx`."""
    import onnx
    from onnx import helper, numpy_helper

    dtype = weights[0].dtype
    number = helper.np_dtype_to_tensor_dtype(dtype)
    nodes, constants = [], []
    value = "X"
    for k, layer in enumerate(layers, start=1):
        for name, array in zip((f"W{k}", f"b{k}"), weights[2 * k - 2 : 2 * k], strict=True):
            constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        nodes.append(helper.make_node("Gemm", [value, f"W{k}", f"b{k}"], [f"z{k}"], name=f"layer{k}"))
        value = "Y" if k == len(layers) else f"a{k}"
        nodes += _onnx_activation(layer.activation, f"z{k}", value, dtype)
    used = sorted({name for node in nodes for name in node.input} & set(ONNX_CONSTANTS))
    constants += [numpy_helper.from_array(np.array(ONNX_CONSTANTS[name], dtype), name) for name in used]
    graph = helper.make_graph(
        nodes,
        "fastnn",
        [helper.make_tensor_value_info("X", number, ["batch", len(weights[0])])],
        [helper.make_tensor_value_info("Y", number, ["batch", layers[-1].n_units])],
        constants,
    )
    model = helper.make_model(
        graph, producer_name="fastnn", opset_imports=[helper.make_opsetid("", ONNX_OPSET)], ir_version=ONNX_IR
    )
    onnx.checker.check_model(model, full_check=True)
    files.replace(path, model.SerializeToString())


def _onnx_activation(activation: str, z: str, a: str, dtype: np.dtype[Any]) -> list[Any]:
    """Return the nodes that compute a from z.

    onnxruntime has LeakyRelu, Elu and Softplus in float32 only, so that in float64 they are made of
    max(z, 0.01 z), of max(z, 0) + exp(min(z, 0)) - 1, and of max(z, 0) + log(1 + exp(-abs(z))). For
    silu there is an operator from set 24 on; it is z times Sigmoid.
    """
    from onnx import helper

    if dtype == np.float64 and activation == "leaky_relu":
        steps = [("Mul", [z, "leaky_slope"], f"{z}_sloped"), ("Max", [z, f"{z}_sloped"], a)]
    elif dtype == np.float64 and activation == "elu":
        steps = [
            ("Min", [z, "zero"], f"{z}_min"),
            ("Exp", [f"{z}_min"], f"{z}_exp"),
            ("Sub", [f"{z}_exp", "one"], f"{z}_below"),
            ("Max", [z, "zero"], f"{z}_max"),
            ("Add", [f"{z}_max", f"{z}_below"], a),
        ]
    elif dtype == np.float64 and activation == "softplus":
        steps = [
            ("Abs", [z], f"{z}_abs"),
            ("Neg", [f"{z}_abs"], f"{z}_neg"),
            ("Exp", [f"{z}_neg"], f"{z}_exp"),
            ("Add", [f"{z}_exp", "one"], f"{z}_sum"),
            ("Log", [f"{z}_sum"], f"{z}_log"),
            ("Max", [z, "zero"], f"{z}_max"),
            ("Add", [f"{z}_max", f"{z}_log"], a),
        ]
    elif activation == "silu":
        steps = [("Sigmoid", [z], f"{z}_sigmoid"), ("Mul", [z, f"{z}_sigmoid"], a)]
    else:
        attributes: dict[str, dict[str, Any]] = {"leaky_relu": {"alpha": LEAKY_SLOPE}, "softmax": {"axis": 1}}
        return [helper.make_node(ONNX_OPERATORS[activation], [z], [a], **attributes.get(activation, {}))]
    return [helper.make_node(operator, inputs, [output]) for operator, inputs, output in steps]
