"""Models in and out: ONNX, PyTorch and scikit-learn, each imported when it is asked for."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn._validate import Array
from fastnn.kernels.activations.leaky_relu import SLOPE_BELOW as LEAKY_SLOPE
from fastnn.layers import Dense
from fastnn.network import Network

# PyTorch's softplus is the identity above a threshold, 20 by default: off by exp(-20).
# Above 40 nothing is left to be off by.
SOFTPLUS_THRESHOLD = 40.0
# The oldest operator set that has every operator below in float64, and what reads it.
ONNX_OPSET, ONNX_IR = 17, 8
ONNX_CONSTANTS = {"zero": 0.0, "one": 1.0, "leaky_slope": LEAKY_SLOPE}
FROM_TORCH = {
    "Identity": "identity",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "Softplus": "softplus",
    "Softmax": "softmax",
}


def from_torch(module: Any) -> Network:
    """Return the network that a PyTorch module is.

    Parameters
    ----------
    module : torch.nn.Sequential or torch.nn.Linear
        Of Linear, each followed by at most one of Sigmoid, Tanh, ReLU, LeakyReLU (of
        slope 0.01), Softplus (of beta 1), Identity and, at the end, Softmax (over
        the features); a Flatten may come first. Sequential modules may be nested.

    Returns
    -------
    Network
        A copy of the weights, in their dtype, float32 or float64. A Linear without
        bias gets biases of zero.

    Raises
    ------
    TypeError
        If a layer is of another kind; its name and position are in the message.
    ValueError
        If a layer has a setting or a place that fastnn does not have.

    Examples
    --------
    >>> import fastnn, torch                                             # doctest: +SKIP
    >>> fastnn.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()))  # doctest: +SKIP
    Network: 2 inputs, 9 parameters, float32
      Dense(3, tanh)  W (2, 3)  b (3,)  9
    """
    weights: list[Array] = []
    activations: list[str | None] = []
    for place, layer in _walk(module, "module"):
        kind = type(layer).__name__
        where = f"{place} is {layer!r}"
        if kind == "Linear":
            weight = layer.weight.detach().cpu().numpy().T
            bias = np.zeros(weight.shape[1], weight.dtype) if layer.bias is None else layer.bias.detach().cpu().numpy()
            weights += [weight, bias]
            activations.append(None)
        elif kind in FROM_TORCH:
            _check_setting(kind, layer, where)
            if not activations or activations[-1] is not None:
                raise ValueError(f"{where}, and fastnn has one activation after each Linear")
            activations[-1] = FROM_TORCH[kind]
        elif kind != "Flatten" or activations:
            raise TypeError(f"{where}, which fastnn does not have; it has Linear, {', '.join(FROM_TORCH)}")
    if not weights:
        raise ValueError("module has no Linear layer")
    return _assemble(weights, [activation or "identity" for activation in activations])


def _walk(module: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of nested Sequential modules with their places."""
    if type(module).__name__ != "Sequential":
        yield place, module
        return
    for k, layer in enumerate(module):
        yield from _walk(layer, f"{place}[{k}]")


def _check_setting(kind: str, layer: Any, where: str) -> None:
    """Refuse an activation whose settings are not those of fastnn's."""
    if kind == "LeakyReLU" and layer.negative_slope != LEAKY_SLOPE:
        raise ValueError(f"{where}, and fastnn's leaky_relu has slope {LEAKY_SLOPE}")
    if kind == "Softplus" and (layer.beta != 1 or layer.threshold < 20):
        raise ValueError(f"{where}, and fastnn's softplus has beta 1 and no threshold")
    if kind == "Softmax" and layer.dim not in (1, -1):
        raise ValueError(f"{where}, and fastnn's softmax is over the features: dim 1 or -1")


def from_sklearn(model: Any) -> Network:
    """Return the network inside a fitted scikit-learn ``MLPClassifier`` or ``MLPRegressor``.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    Network
        A copy of the weights, in their dtype. Its outputs are `predict_proba` of a
        classifier (for two classes the second column) and `predict` of a regressor.

    Raises
    ------
    TypeError
        If model is something else.
    ValueError
        If it is not fitted, or its output layer is one that fastnn does not have.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.neural_network import MLPRegressor
    >>> model = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0)
    >>> fastnn.from_sklearn(model.fit([[0.0, 0.0], [1.0, 2.0]], [0.0, 1.0]))
    Network: 2 inputs, 13 parameters, float64
      Dense(3, relu)      W (2, 3)  b (3,)  9
      Dense(1, identity)  W (3, 1)  b (1,)  4
    """
    if not {"MLPClassifier", "MLPRegressor"} & {kind.__name__ for kind in type(model).__mro__}:
        raise TypeError(f"model must be an MLPClassifier or MLPRegressor, got {model!r}")
    if not hasattr(model, "coefs_"):
        raise ValueError(f"{model!r} is not fitted: call its fit first")
    names = {"logistic": "sigmoid"}
    hidden = [names.get(model.activation, model.activation)] * (len(model.coefs_) - 1)
    output = names.get(model.out_activation_, model.out_activation_)
    if output not in ("identity", "sigmoid", "softmax"):  # Poisson regression ends in exp
        raise ValueError(f"{model!r} has output activation {output!r}, which fastnn does not have")
    weights = [array for pair in zip(model.coefs_, model.intercepts_, strict=True) for array in pair]
    return _assemble(weights, [*hidden, output])


def _assemble(weights: list[Array], activations: list[str]) -> Network:
    """Return a network with these weights, `[W1, b1, ...]`."""
    layers = [Dense(b.size, activation) for b, activation in zip(weights[1::2], activations, strict=True)]
    network = Network(len(weights[0]), layers, seed=0, dtype=weights[0].dtype)
    network.weights = weights
    return network


def to_torch(network: Network) -> Any:
    """Return a `torch.nn.Sequential`; see `Network.to_torch`."""
    import torch
    from torch import nn

    make = {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
        "softplus": lambda: nn.Softplus(threshold=SOFTPLUS_THRESHOLD),
        "softmax": lambda: nn.Softmax(dim=-1),
    }
    dtype = getattr(torch, network.dtype.name)
    modules: list[Any] = []
    for w, b, layer in zip(network.weights[::2], network.weights[1::2], network.layers, strict=True):
        linear = nn.Linear(*w.shape, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        modules.append(linear)
        if layer.activation != "identity":
            modules.append(make[layer.activation]())
    return nn.Sequential(*modules)


def to_onnx(network: Network, path: str | os.PathLike[str]) -> None:
    """Write an ONNX file; see `Network.to_onnx`."""
    import onnx
    from onnx import helper, numpy_helper

    network.check_weights()
    number = helper.np_dtype_to_tensor_dtype(network.dtype)
    nodes, constants = [], []
    value = "X"
    for k, layer in enumerate(network.layers, start=1):
        for name, array in zip((f"W{k}", f"b{k}"), network.weights[2 * k - 2 : 2 * k], strict=True):
            constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        nodes.append(helper.make_node("Gemm", [value, f"W{k}", f"b{k}"], [f"z{k}"], name=f"layer{k}"))
        value = "Y" if k == len(network.layers) else f"a{k}"
        nodes += _onnx_activation(layer.activation, f"z{k}", value, network.dtype)
    used = sorted({name for node in nodes for name in node.input} & set(ONNX_CONSTANTS))
    constants += [numpy_helper.from_array(np.array(ONNX_CONSTANTS[name], network.dtype), name) for name in used]
    graph = helper.make_graph(
        nodes,
        "fastnn",
        [helper.make_tensor_value_info("X", number, ["batch", network.n_inputs])],
        [helper.make_tensor_value_info("Y", number, ["batch", network.layers[-1].n_units])],
        constants,
    )
    model = helper.make_model(
        graph, producer_name="fastnn", opset_imports=[helper.make_opsetid("", ONNX_OPSET)], ir_version=ONNX_IR
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _onnx_activation(activation: str, z: str, a: str, dtype: np.dtype[Any]) -> list[Any]:
    """Return the nodes that compute a from z.

    onnxruntime has LeakyRelu and Softplus in float32 only, so that in float64 they
    are made of max(z, 0.01 z), and of max(z, 0) + log(1 + exp(-abs(z))).
    """
    from onnx import helper

    if dtype == np.float64 and activation == "leaky_relu":
        steps = [("Mul", [z, "leaky_slope"], f"{z}_sloped"), ("Max", [z, f"{z}_sloped"], a)]
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
    else:
        attributes: dict[str, dict[str, Any]] = {"leaky_relu": {"alpha": LEAKY_SLOPE}, "softmax": {"axis": 1}}
        operator = {"leaky_relu": "LeakyRelu"}.get(activation, activation.capitalize())
        return [helper.make_node(operator, [z], [a], **attributes.get(activation, {}))]
    return [helper.make_node(operator, inputs, [output]) for operator, inputs, output in steps]
