"""Networks made from PyTorch's and scikit-learn's models; each library is imported when it is asked for."""

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._support.validate import Array, optional, show
from fastnn.interop.exports import walk
from fastnn.interop.kinds import KINDS, activation_behind
from fastnn.kernels.activations import MODULES, Activation
from fastnn.kernels.activations.leaky_relu import SLOPE_BELOW as LEAKY_SLOPE
from fastnn.model.layers import Dense, Embedding, Flatten, Layer
from fastnn.model.network import Network, _check_shape

FROM_TORCH = {
    "Identity": "identity",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "Softplus": "softplus",
    "SiLU": "silu",
    "GELU": "gelu",
    "Hardsigmoid": "hard_sigmoid",
    "Softmax": "softmax",
}
TAKEN = (
    f"it takes Linear, {', '.join(FROM_TORCH)} and Dropout, over images Conv2d, MaxPool2d, AvgPool2d and ZeroPad2d, "
    "over sequences RNN, GRU, LSTM and Embedding, and Flatten() before the first Linear, of torch.nn itself, and "
    "AllSteps, LastStep and Repeat of fastnn.interop.steps"
)
PADDING, NO_ZEROS = "ZeroPad2d", (0, 0, 0, 0)
IMAGES = (PADDING, "Conv2d", "MaxPool2d", "AvgPool2d")
RECURRENT, STEPS = ("RNN", "GRU", "LSTM"), ("AllSteps", "LastStep")
BEHIND = (
    f"and behind each {' or '.join(RECURRENT)}, whose outputs are a tuple, and there alone, stands AllSteps() or "
    "LastStep() of fastnn.interop.steps"
)
COMPARED_STEPS = 3
OF_SEVERAL = "{} has weights [W1, b1, ...] of several dtypes or shapes: W{} or its bias"


def from_torch(module: Any, input_shape: int | tuple[int, ...] | None = None) -> Network:
    """Return the network that a PyTorch module is.

    Parameters
    ----------
    module : torch.nn.Sequential, or one of its layers
        Of Linear, each followed by at most one of Sigmoid, Tanh, ReLU, LeakyReLU (of slope 0.01), ELU (of alpha 1),
        Softplus (of beta 1), SiLU, GELU (not by tanh), Hardsigmoid, Identity and, at the end, Softmax (over the
        features); a Flatten may come first, and a Dropout before a Linear. Over images, before that Flatten, also of
        Conv2d, each followed by at most one of these, MaxPool2d and AvgPool2d. A Conv2d may be padded, by itself or by
        a ZeroPad2d before it, with the zeros that `Conv2D` knows as "same". Over sequences, also of Embedding, the
        first, of RNN, GRU and LSTM, of one layer and direction with ``batch_first=True``, and of what
        ``fastnn.interop.steps`` has: AllSteps or LastStep behind each of these, whose outputs are a tuple, and Repeat.
        Sequential modules may be nested. Each is of that class itself, not of one made from it, and nothing but
        its class says what it computes: no hook, no method of its own, no weight that is
        computed from others.
    input_shape : int or (int, int) or (int, int, int), optional
        Of a sample. (height, width, channels) says that they are images, (steps, features) that they are sequences,
        and a number before an Embedding how many tokens there are, which no module says of itself.

    Returns
    -------
    Network
        A copy of the weights, in their dtype, float32 or float64. A layer without
        bias gets biases of zero, an RNN or LSTM the sum of its two. Images it takes with
        their channels last, where the module has them first. Its outputs for a few random inputs, of
        sequences of three steps, have been compared with the module's, in float64.

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
    with optional("from_torch", "torch"):
        import torch
        from torch import nn

        from fastnn.interop import steps

    kinds = {kind.TORCH: kind for kind in KINDS.values()}
    below: Any = None if input_shape is None else _check_shape(input_shape)
    is_flattened = False  # an image, and what it was is remembered
    waiting = ""  # a recurrent layer, for what takes steps of its tuple
    padding = NO_ZEROS
    layers: list[Any] = []
    weights: list[Array] = []
    takes_activation = False
    for place, layer in _walk(module):
        name = type(layer).__name__
        where = f"{place} is {show(layer)}"
        known = (*kinds, PADDING, *FROM_TORCH, *STEPS)
        if name not in known or type(layer) is not (getattr(steps, name, None) or getattr(nn, name)):
            raise TypeError(f"{where}, which from_torch does not take; {TAKEN}")
        _check_plain(layer, place)
        if padding != NO_ZEROS and name != "Conv2d":
            raise ValueError(f"{where}, and what is behind a {PADDING} must be a Conv2d")
        if bool(waiting) != (name in STEPS):
            raise ValueError(f"{waiting or where}, {BEHIND}")
        n_axes = 0 if below is None else len(below)
        is_flat = n_axes < 2 or is_flattened
        if name in STEPS:
            waiting = ""
            if name == "LastStep":
                layers[-1], below = replace(layers[-1], return_sequences=False), below[1:]
        elif name in FROM_TORCH:
            _check_setting(name, layer, n_axes, where)
            if not takes_activation:
                raise ValueError(f"{where}, and fastnn has one activation after each Linear or Conv2d")
            layers[-1] = replace(layers[-1], activation=FROM_TORCH[name])
            takes_activation = False
        elif name == "Flatten":
            if (layers and is_flat) or (layer.start_dim, layer.end_dim) != (1, -1):
                raise TypeError(f"{where}, which from_torch does not take; {TAKEN}")
            is_flattened = True
            if n_axes == 2:
                layers.append(Flatten())
                below = (math.prod(below),)
        elif name in RECURRENT and n_axes != 2:
            raise ValueError(
                f"{where}, which needs a sequence: say input_shape=(steps, features), or put AllSteps() or "
                "Repeat(steps) before it"
            )
        elif name == "Embedding" and (n_axes != 1 or layers):
            raise ValueError(f"{where}, which takes the inputs: say input_shape=steps, and put it first")
        elif name == "Repeat" and n_axes != 1:
            raise ValueError(f"{where}, which repeats a vector: say input_shape=features, or put a Linear before it")
        elif name in IMAGES and (n_axes != 3 or is_flattened):
            shape = "input_shape=(height, width, channels)"
            raise ValueError(f"{where}, which needs an image: say {shape}, and put it before any Flatten or Linear")
        elif name == "Linear" and n_axes == 3 and not is_flattened:
            raise ValueError(f"{where}, and over an image there must be a Flatten before it")
        elif name == PADDING:
            padding = layer.padding
        else:
            arrays = [_read(layer, which, kinds[name].PARAMETERS[0], where) for which in kinds[name].PARAMETERS]
            below = below or (arrays[0].shape[1:] if arrays else None)
            try:
                layers.append(kinds[name].from_torch(layer, arrays, below, padding))
                weights += kinds[name].from_others(arrays, below)
                below = kinds[name].shape(layers[-1], below)
            except ValueError as error:
                raise ValueError(f"{where}, {error}") from None
            waiting = where if name in RECURRENT else ""
            takes_activation, padding = "bias" in kinds[name].PARAMETERS, NO_ZEROS
            is_flattened = is_flattened and name == "Dropout"
    if waiting:
        raise ValueError(f"{waiting}, {BEHIND}")
    if not weights:
        raise ValueError("module has no Linear layer")
    network = _assemble(input_shape or len(weights[0]), layers, weights, "module")

    def run(x: Array) -> Array:
        parameters = {name: value.detach().cpu().double() for name, value in module.named_parameters()}
        if x.ndim == 4:
            x = np.moveaxis(x, -1, 1)
        if isinstance(network.layers[0], Embedding):
            x = x.astype(np.int64)
        training = [part for part in module.modules() if part.training]
        module.eval()  # nothing is dropped
        try:
            with torch.no_grad():
                outputs: Array = torch.func.functional_call(module, parameters, torch.from_numpy(x)).numpy()
        finally:
            for part in training:
                part.training = True
        return outputs

    # PyTorch's softplus is the identity above its threshold.
    is_approximate = any(getattr(layer, "activation", "") == "softplus" for layer in layers)
    _compare(network, run, "module", np.exp(-20.0) if is_approximate else 0.0)
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


def _read(layer: Any, name: str, first: str, where: str) -> Array:
    """Return a parameter of a layer, in its dtype; biases that it does not have are zero."""
    import torch

    weight: Any = getattr(layer, first, None)
    value: Any = getattr(layer, name, None)
    if value is None and name.startswith("bias"):
        return np.zeros(len(weight), weight.detach().cpu().numpy().dtype)
    if type(value) is not torch.nn.Parameter or value.layout != torch.strided or value.is_meta:
        raise ValueError(f"{where}, whose weights are no numbers in memory but {show(value)}")
    if value.dtype not in (torch.float64, torch.float32) or value.dtype != weight.dtype:
        raise ValueError(f"{where}, with weights of {value.dtype}: make it float64 or float32 throughout")
    array: Array = value.detach().cpu().numpy()
    return array


def _check_setting(kind: str, layer: Any, n_axes: int, where: str) -> None:
    """Refuse an activation whose settings are not those of fastnn's."""
    if kind == "LeakyReLU" and layer.negative_slope != LEAKY_SLOPE:
        raise ValueError(f"{where}, and fastnn's leaky_relu has slope {LEAKY_SLOPE}")
    if kind == "ELU" and layer.alpha != 1:
        raise ValueError(f"{where}, and fastnn's elu has alpha 1")
    if kind == "GELU" and layer.approximate != "none":
        raise ValueError(f"{where}, and fastnn's gelu is exact: approximate='none'")
    if kind == "Softplus" and (layer.beta != 1 or layer.threshold < 20):
        raise ValueError(f"{where}, and fastnn's softplus has beta 1 and no threshold")
    features = 2 if n_axes == 2 else 1  # the dimension that they are in: behind samples, and steps
    if kind == "Softmax" and layer.dim not in (features, -1):
        raise ValueError(f"{where}, and fastnn's softmax is over the features: dim {features} or -1")


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
    for k, array in enumerate(weights):
        if not isinstance(array, np.ndarray) or array.ndim != 2 - k % 2:
            raise ValueError(OF_SEVERAL.format("model", k // 2 + 1))
    layers = [Dense(b.size, activation) for b, activation in zip(weights[1::2], [*hidden, output], strict=True)]
    network = _assemble(len(weights[0]), layers, weights, "model")
    twin = copy.copy(model)
    twin.coefs_, twin.intercepts_ = ([array.astype(np.float64) for array in arrays] for arrays in lists)

    def run(x: Array) -> Array:
        outputs: Array = getattr(twin, "predict_proba", twin.predict)(x)
        return outputs.reshape(len(x), -1)[:, -weights[-1].size :]  # of two classes the second one

    _compare(network, run, "model", 0.0)
    return network


def _assemble(input_shape: Any, layers: Sequence[Layer], weights: list[Any], what: str) -> Network:
    """Return a network with these weights, `[W1, b1, ...]`."""
    with_weights = [layer for layer in layers if layer.parameters]
    numbers = [k for k, layer in enumerate(with_weights, start=1) for _ in layer.parameters]
    for k, array in zip(numbers, weights, strict=True):
        if array.dtype != weights[0].dtype:
            raise ValueError(OF_SEVERAL.format(what, k))
    return Network._of(input_shape, layers, weights[0].dtype, weights)


def _compare(network: Network, run: Callable[[Array], Array], what: str, approximation: float) -> None:
    """Refuse a network whose outputs for some random inputs are not those of what it was made from, in float64.

    Both have errors. A sum of n products, in any order, is off by (n + 1) / 2 eps of the sum of
    their absolute values at most; an activation passes on no more than its largest slope, or 1, times what
    came in, a softmax no more than the largest of it, and adds some eps and what it leaves out by
    approximation. What a recurrent layer passes on can grow with each step, to 1e7 after twenty steps of sixteen units,
    so that few steps are compared; all of them where a Flatten needs them, of which many say little.
    """
    eps = np.finfo(np.float64).eps
    rng = np.random.default_rng(0)
    shape: Any = network.input_shape
    first = network.layers[0]
    if (len(shape) == 2 or isinstance(first, Embedding)) and Flatten() not in network.layers:
        shape = (min(shape[0], COMPARED_STEPS), *shape[1:])
    x = rng.normal(size=(16, *shape)) * 10.0 ** rng.uniform(-1, 1, (16, *[1] * len(shape)))
    if isinstance(first, Embedding):
        x = rng.integers(0, first.n_tokens, x.shape).astype(np.float64)
    twin = Network._of(shape if len(shape) > 1 else shape[0], network.layers, "float64", network.weights)
    values = twin.forward(x).activations
    inputs, error = x, np.zeros_like(x)
    with np.errstate(over="ignore", invalid="ignore"):
        for (layer, arrays, below), a in zip(walk(shape, network.layers, twin.weights), values, strict=True):
            error = KINDS[type(layer)].carry_error(layer, arrays, below, inputs, error)
            activation = activation_behind(layer)
            if activation == "softmax":
                error = error.max(axis=-1, keepdims=True)
            else:
                error = error * max(1.0, MODULES[Activation[activation.upper()]].DERIVATIVE_BOUNDS[0])
            error = error + (a.shape[-1] + 8) * eps * np.maximum(1.0, np.abs(a)) + approximation
            inputs = a
        try:
            with warnings.catch_warnings(action="ignore"):  # of names of features, of speed
                found = run(x)
            is_right = (
                found.shape == inputs.shape and not (np.isfinite(error) & ~(np.abs(found - inputs) <= 2 * error)).any()
            )
        except Exception as error_there:
            raise ValueError(
                f"{what} cannot be called with samples of {' x '.join(map(str, shape))} inputs: {error_there}"
            ) from None
    if not is_right:
        raise ValueError(
            f"{what} computes something else than its layers and weights say, so that it is no network of theirs"
        )
