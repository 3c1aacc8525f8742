"""Networks made from PyTorch's and scikit-learn's models; each library is imported when it is asked for."""

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastnn._support.validate import Array, show
from fastnn.kernels.activations import MODULES
from fastnn.kernels.activations.leaky_relu import SLOPE_BELOW as LEAKY_SLOPE
from fastnn.model.layers import Dense
from fastnn.model.network import Network

FROM_TORCH = {
    "Identity": "identity",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "Softplus": "softplus",
    "SiLU": "silu",
    "Softmax": "softmax",
}


def from_torch(module: Any) -> Network:
    """Return the network that a PyTorch module is.

    Parameters
    ----------
    module : torch.nn.Sequential or torch.nn.Linear
        Of Linear, each followed by at most one of Sigmoid, Tanh, ReLU, LeakyReLU (of
        slope 0.01), ELU (of alpha 1), Softplus (of beta 1), SiLU, Identity and, at the end, Softmax
        (over the features); a Flatten may come first. Sequential modules may be nested.
        Each is of torch.nn's class itself, not of one made from it, and nothing but
        its class says what it computes: no hook, no method of its own, no weight that is
        computed from others.

    Returns
    -------
    Network
        A copy of the weights, in their dtype, float32 or float64. A Linear without
        bias gets biases of zero. Its outputs for a few random inputs have been
        compared with the module's, in float64.

    Raises
    ------
    TypeError
        If a layer is of another kind; its name and position are in the message.
    ValueError
        If a layer has a setting, an addition or a place that fastnn does not have, or
        if the module computes something else than its layers say.

    Examples
    --------
    >>> import fastnn, torch                                             # doctest: +SKIP
    >>> fastnn.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()))  # doctest: +SKIP
    Network: 2 inputs, 9 parameters, float32
      Dense(3, tanh)  W (2, 3)  b (3,)  9
    """
    import torch
    from torch import nn

    weights: list[Array] = []
    activations: list[str | None] = []
    for place, layer in _walk(module):
        kind = type(layer).__name__
        where = f"{place} is {show(layer)}"
        is_known = kind in ("Linear", "Flatten", *FROM_TORCH) and type(layer) is getattr(nn, kind)
        if is_known:
            _check_plain(layer, place)
        if is_known and kind == "Linear":
            weights += _read_linear(layer, where)
            activations.append(None)
        elif is_known and kind in FROM_TORCH:
            _check_setting(kind, layer, where)
            if not activations or activations[-1] is not None:
                raise ValueError(f"{where}, and fastnn has one activation after each Linear")
            activations[-1] = FROM_TORCH[kind]
        elif not is_known or activations or (layer.start_dim, layer.end_dim) != (1, -1):
            raise TypeError(
                f"{where}, which from_torch does not take; it takes Linear, {', '.join(FROM_TORCH)}, and Flatten() "
                "before them, of torch.nn itself"
            )
    if not weights:
        raise ValueError("module has no Linear layer")
    network = _assemble(weights, [activation or "identity" for activation in activations], "module")

    def run(x: Array) -> Array:
        parameters = {name: value.detach().cpu().double() for name, value in module.named_parameters()}
        with torch.no_grad():
            outputs: Array = torch.func.functional_call(module, parameters, torch.from_numpy(x)).numpy()
        return outputs

    # PyTorch's softplus is the identity above its threshold.
    _compare(network, run, "module", np.exp(-20.0) if "softplus" in activations else 0.0)
    return network


def _walk(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers of nested Sequential modules with their places, if nothing is added to any."""
    from torch import nn
    from torch.nn.modules import module as everywhere

    if everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks:
        raise ValueError("hooks are registered for the forward pass of all modules: remove them first")
    left: list[tuple[str, Any, tuple[Any, ...]]] = [("module", module, ())]
    while left:
        place, module, around = left.pop()
        if type(module) is not nn.Sequential:
            yield place, module
        elif any(module is other for other in around):
            raise ValueError(f"{place} is a Sequential that contains itself")
        else:
            _check_plain(module, place)
            inside = [(f"{place}[{k}]", layer, (*around, module)) for k, layer in enumerate(module)]
            left += reversed(inside)


def _check_plain(module: Any, place: str) -> None:
    """Refuse a module with more to it than its class."""
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    if hooks:
        raise ValueError(
            f"{place} has a forward hook, {show(hooks[0])}, which a network has not; for weights that are normalised "
            "or pruned, make that permanent first"
        )
    own = [name for name in vars(module) if hasattr(type(module), name)]
    if own:
        raise ValueError(f"{place} has a {own[0]} of its own, where its class has another: fastnn reads the class")


def _read_linear(layer: Any, where: str) -> list[Array]:
    """Return weights and biases of a Linear, in its dtype."""
    import torch

    weight: Any = getattr(layer, "weight", None)
    bias: Any = getattr(layer, "bias", None)
    found = [weight] if bias is None else [weight, bias]
    for value in found:
        if type(value) is not torch.nn.Parameter or value.layout != torch.strided or value.is_meta:
            raise ValueError(f"{where}, whose weights are no numbers in memory but {show(value)}")
        if value.dtype not in (torch.float64, torch.float32) or value.dtype != weight.dtype:
            raise ValueError(f"{where}, with weights of {value.dtype}: make it float64 or float32 throughout")
    w, *b = (value.detach().cpu().numpy() for value in found)
    return [w.T, *(b or [np.zeros(len(w), w.dtype)])]


def _check_setting(kind: str, layer: Any, where: str) -> None:
    """Refuse an activation whose settings are not those of fastnn's."""
    if kind == "LeakyReLU" and layer.negative_slope != LEAKY_SLOPE:
        raise ValueError(f"{where}, and fastnn's leaky_relu has slope {LEAKY_SLOPE}")
    if kind == "ELU" and layer.alpha != 1:
        raise ValueError(f"{where}, and fastnn's elu has alpha 1")
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
    known = sys.modules.get("sklearn.neural_network")  # is there, if the model is of it
    if type(model) not in (getattr(known, "MLPClassifier", None), getattr(known, "MLPRegressor", None)):
        raise TypeError(f"model must be an MLPClassifier or MLPRegressor, and no class made from it, got {show(model)}")
    if not hasattr(model, "coefs_"):
        raise ValueError(f"{model!r} is not fitted: call its fit first")
    if own := [name for name in vars(model) if callable(getattr(type(model), name, None))]:
        raise ValueError(f"{model!r} has a {own[0]} of its own, where its class has another: fastnn reads the class")
    lists = model.coefs_, model.intercepts_
    if not all(isinstance(arrays, list) and len(arrays) == len(model.coefs_) > 0 for arrays in lists):
        raise ValueError(f"coefs_ and intercepts_ of {model!r} are not what its fit leaves")
    names = {"logistic": "sigmoid"}
    hidden = [names.get(model.activation, model.activation)] * (len(model.coefs_) - 1)
    output = names.get(model.out_activation_, model.out_activation_)
    if output not in ("identity", "sigmoid", "softmax"):  # Poisson regression ends in exp
        raise ValueError(f"{model!r} has output activation {output!r}, which fastnn does not have")
    weights = [array for pair in zip(*lists, strict=True) for array in pair]
    network = _assemble(weights, [*hidden, output], "model")
    twin = copy.copy(model)
    twin.coefs_, twin.intercepts_ = ([array.astype(np.float64) for array in arrays] for arrays in lists)

    def run(x: Array) -> Array:
        with warnings.catch_warnings(action="ignore"):  # of names of features
            outputs: Array = getattr(twin, "predict_proba", twin.predict)(x)
        return outputs.reshape(len(x), -1)[:, -weights[-1].size :]  # of two classes the second one

    _compare(network, run, "model", 0.0)
    return network


def _assemble(weights: list[Any], activations: list[str], what: str) -> Network:
    """Return a network with these weights, `[W1, b1, ...]`."""
    for k, array in enumerate(weights):
        if not isinstance(array, np.ndarray) or array.ndim != 2 - k % 2 or array.dtype != weights[0].dtype:
            raise ValueError(f"{what} has weights [W1, b1, ...] of several dtypes or shapes: W{k // 2 + 1} or its bias")
    layers = [Dense(b.size, activation) for b, activation in zip(weights[1::2], activations, strict=True)]
    return Network._of(len(weights[0]), layers, weights[0].dtype, weights)


def _compare(network: Network, run: Callable[[Array], Array], what: str, approximation: float) -> None:
    """Refuse a network whose outputs for some random inputs are not those of what it was made from, in float64.

    Both have errors. A sum of n products, in any order, is off by (n + 1) / 2 eps of the sum of
    their absolute values at most; an activation passes on no more than its largest slope, or 1, times what
    came in, a softmax no more than the largest of it, and adds some eps and what it leaves out by
    approximation.
    """
    eps = np.finfo(np.float64).eps
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, network.n_inputs)) * 10.0 ** rng.uniform(-1, 1, (16, 1))
    twin = Network._of(network.n_inputs, network.layers, "float64", network.weights)
    values = twin.forward(x).activations
    inputs, error = x, np.zeros_like(x)
    with np.errstate(over="ignore", invalid="ignore"):
        layers = network.dense_layers(what)
        for w, b, a, layer in zip(twin.weights[::2], twin.weights[1::2], values, layers, strict=True):
            carried = error @ np.abs(w)
            error = carried + (len(w) + 2) * eps * (np.abs(inputs) @ np.abs(w) + np.abs(b) + carried)
            if layer.activation == "softmax":
                error = error.max(axis=1, keepdims=True)
            else:
                error = error * max(1.0, MODULES[layer.code].DERIVATIVE_BOUNDS[0])
            error = error + (layer.n_units + 8) * eps * np.maximum(1.0, np.abs(a)) + approximation
            inputs = a
        try:
            found = run(x)
            is_right = (
                found.shape == inputs.shape and not (np.isfinite(error) & ~(np.abs(found - inputs) <= 2 * error)).any()
            )
        except Exception as error_there:
            raise ValueError(
                f"{what} cannot be called with samples of {network.n_inputs} inputs: {error_there}"
            ) from None
    if not is_right:
        raise ValueError(
            f"{what} computes something else than its layers and weights say, so that it is no network of theirs"
        )
