"""A feed-forward network: its architecture and its weights."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastnn._engine.loop import forward
from fastnn._engine.plan import count_steps, find_plan
from fastnn._engine.workspace import (
    count_parameters,
    drop_units,
    make_layout,
    parameter_shapes,
    split,
    view,
    view_below,
)
from fastnn._support import files, html, validate
from fastnn._support.choices import ActivationName, HiddenName, InitName
from fastnn._support.names import Named, named_arguments
from fastnn._support.validate import Array
from fastnn.interop import exports
from fastnn.kernels.activations import Activation
from fastnn.kernels.layout import Layout
from fastnn.kernels.work import A, Z
from fastnn.model.initializers import INITIALIZERS, Initializer, find_initializer
from fastnn.model.layers import LARGEST, LAYERS, Dense, Dropout, Embedding, Flatten, Layer, check_layers, find_top

# What arrays are called in mathematics, by what they are called in files.
LETTERS = {"weight": "W", "recurrent_weight": "U", "bias": "b"}
# What the sizes of a sample are called, by how many they are.
AXES = {1: ["n_inputs"], 2: ["steps", "features"], 3: ["height", "width", "channels"]}


class Forward(NamedTuple):
    """What a forward pass computes, a list entry a layer, each array (n_samples, n_units), or as below.

    Images are (n_samples, height, width, channels), sequences (n_samples, n_steps, n_units); what has no activation has
    its values in both lists.
    """

    pre_activations: list[Array]
    activations: list[Array]


class _Weights(list[Array]):
    """The weights and biases of a network: an array that is assigned to one is copied into it."""

    def __setitem__(self, key: Any, value: Any) -> None:
        chosen = range(len(self))[key]
        if isinstance(chosen, int):
            self[chosen][...] = _fit(chosen, value, self[chosen])
            return
        if len(chosen) != len(value):
            raise ValueError(f"these are {len(chosen)} of a network's weights, got {len(value)} arrays")
        checked = [_fit(k, new, self[k]) for k, new in zip(chosen, value, strict=True)]
        for k, array in zip(chosen, checked, strict=True):
            self[k][...] = array

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse what would change this list, and nothing in the network."""
        raise TypeError(
            "the layers say how many weights a network has, and in which order: network.weights = [W1, b1, ...] sets "
            "all, network.weights[0] = array one; list(network.weights) is a list of one's own"
        )

    append = extend = insert = pop = remove = clear = reverse = sort = _refuse
    __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce__(self) -> Any:
        # A list's own way to be copied and unpickled is to append.
        return type(self), (list(self),)


def _fit(k: int, new: ArrayLike, old: Array) -> Array:
    """Return new weights as an array like the old ones."""
    array = validate.array(f"weights[{k}]", new, old.dtype)
    if array.shape != old.shape:
        raise ValueError(f"weights[{k}] must have shape {old.shape}, got {array.shape}")
    return array


class Network(Named):
    """A network: dense layers, and below them convolutions and pools over images, or recurrent layers over sequences.

    Parameters
    ----------
    input_shape : int, (int, int) or (int, int, int)
        Number of input features, at least 1, or (steps, features) of a sequence, or (height, width, channels) of
        an image. For an `Embedding`, the steps.
    layers : sequence of Dense and others
        The layers in order, the output layer, a Dense, last. Softmax only there. A Dense
        takes an image as the vector that `Flatten` makes of it, and works on every step of a sequence by itself.
    seed : int, numpy.random.Generator or None, default None
        Where the initial weights come from. The same seed gives the same bits;
        None takes fresh entropy.
    dtype : {"float64", "float32"}, default "float64"
        Of the weights and of what is computed with them.
    init : str or callable, default "fan_in"
        How weights are drawn; biases are zero. With "fan_in" from a Gaussian of mean 0 whose
        standard deviation, n_in being the inputs of a unit, is ``sqrt(1 / n_in)`` for sigmoid, hard_sigmoid, tanh,
        identity and softmax [1]_, and ``sqrt(2 / ((1 + slope**2) * n_in))`` for the rectifiers,
        slope being 0.01 for leaky_relu and 0 for relu, elu, softplus, silu and gelu [2]_. Of a recurrent
        layer, n_in is for ``W`` the features of a step, for ``U`` the units of the state; of an `Embedding` it is 1.
        With "standard_normal" the deviation is 1, with "he_normal" ``sqrt(2 / n_in)``, with "glorot_normal" [3]_
        ``sqrt(2 / (n_in + n_out))``; "he_uniform" and "glorot_uniform" draw from an interval around 0 with the same
        deviation, "uniform", PyTorch's default, from that between ``-sqrt(1 / n_in)`` and ``sqrt(1 / n_in)``.
        "orthogonal" [4]_ draws ``W`` with orthonormal rows or columns, whichever are fewer. A function is called with a
        numpy.random.Generator and the shape of each ``W``, and returns it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, before anything is allocated.

    References
    ----------
    .. [1] LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.6.
    .. [2] He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, section 2.2.
    .. [3] Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    .. [4] Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
       networks", 2014.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Network(2, [fastnn.Dense(3, "sigmoid"), fastnn.Dense(1, "identity")], seed=0)
    Network: 2 inputs, 13 parameters, float64
      Dense(3, sigmoid)   W (2, 3)  b (3,)  9
      Dense(1, identity)  W (3, 1)  b (1,)  4
    >>> fastnn.Network((8, 8, 1), [fastnn.Conv2D(4, 3, "relu"), fastnn.MaxPool2D(2), fastnn.Dense(10, "softmax")])
    Network: 8 x 8 x 1 inputs, 410 parameters, float64
      Conv2D(4, 3, relu)  (6, 6, 4)  W (3, 3, 1, 4)  b (4,)    40
      MaxPool2D(2)        (3, 3, 4)
      Dense(10, softmax)  (10,)      W (36, 10)      b (10,)  370
    >>> fastnn.Network((28, 28), [fastnn.RNN(64, "tanh"), fastnn.Dense(10, "softmax")])
    Network: 28 x 28 inputs, 6,602 parameters, float64
      RNN(64, tanh)       (64,)  W (28, 64)  U (64, 64)  b (64,)  5,952
      Dense(10, softmax)  (10,)  W (64, 10)              b (10,)    650
    """

    @named_arguments
    def __init__(
        self,
        input_shape: int | tuple[int, ...],
        layers: Sequence[Layer],
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike = "float64",
        *,
        init: InitName | Initializer = "fan_in",
    ) -> None:
        if not callable(init):
            validate.choice("init", init, INITIALIZERS)
        rng = validate.generator("seed", seed)
        self._allocate(input_shape, layers, dtype)
        for k, (name, layer, w) in enumerate(zip(*_list_arrays(self._layers), self.weights, strict=True)):
            if name != "bias":
                n_in = 1 if isinstance(layer, Embedding) else w.size // w.shape[-1]
                draw, scale = find_initializer(init, n_in, w.shape, layer.code)
                drawn = draw(rng, w.shape)
                w[...] = _fit(k, drawn, w) if callable(init) else drawn
                w *= scale

    def _allocate(self, input_shape: int | tuple[int, ...], layers: Sequence[Layer], dtype: DTypeLike) -> None:
        """Become a network of that architecture, with weights of zero."""
        self._input_shape = _check_shape(input_shape)
        self._layers, self._level_shapes, self._layout = _plan(self._input_shape, layers)
        self._dtype = validate.dtype(dtype)
        self._theta = np.zeros(count_parameters(self._layout), self._dtype)

    @classmethod
    def _of(
        cls,
        input_shape: int | tuple[int, ...],
        layers: Sequence[Layer],
        dtype: DTypeLike,
        weights: Sequence[ArrayLike],
    ) -> Self:
        """Return a network with these weights, for which nothing is drawn."""
        network = cls.__new__(cls)
        network._allocate(input_shape, layers, dtype)
        network.weights = weights
        return network

    @property
    def n_inputs(self) -> int:
        """Number of input features, of an image or a sequence all its numbers."""
        return math.prod(self._input_shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a sample: (n_inputs,), (steps, features), or (height, width, channels)."""
        return self._input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what comes of a sample: (n_outputs,), or (steps, n_outputs)."""
        return self._level_shapes[-1]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order."""
        return self._layers

    def dense_layers(self, what: str) -> tuple[Dense, ...]:
        """Return the layers of a network that has dense ones only.

        Parameters
        ----------
        what : str
            Who asks for it, for the message: something that knows no other layers.

        Raises
        ------
        TypeError
            If there are other layers, or samples are images or sequences.
        """
        if not self._is_plain():
            kind = {1: "has a {}", 2: "takes sequences of {}", 3: "takes images of {}"}[len(self._input_shape)]
            what_is = kind.format(next(iter(self.shared_layers())) if "has" in kind else self._input_shape)
            raise TypeError(f"{what} knows dense networks only, and this one {what_is}")
        return tuple(layer for layer in self._layers if isinstance(layer, Dense))

    def shared_layers(self) -> tuple[Layer, ...]:
        """Return the layers below the trailing dense ones.

        Returns
        -------
        tuple of layers
            Their weights each work at many places; none in a network of dense layers.
        """
        return self._layers[: len(self._layers) - len(find_top(self._layers))]

    @property
    def output_layer(self) -> Dense:
        """The last layer."""
        last = self._layers[-1]
        assert isinstance(last, Dense)
        return last

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 or float32."""
        return self._dtype

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self._theta.size

    @property
    def weights(self) -> list[Array]:
        """``[W1, b1, W2, b2, ...]``, views: writing into one changes the network.

        In the order of the layers that have weights; each layer's description says which, and their shapes.
        Assigning a list of arrays of these shapes copies them in, all or, if one does not fit, none;
        so does ``network.weights[0] = array`` with one.
        """
        return _Weights(split(self._layout, self._theta))

    @weights.setter
    def weights(self, arrays: Sequence[ArrayLike]) -> None:
        here = self.weights
        if len(arrays) != len(here):
            raise ValueError(f"weights must be a list of {len(here)} arrays [W1, b1, ...], got {len(arrays)}")
        checked = [_fit(k, *both).ravel() for k, both in enumerate(zip(arrays, here, strict=True))]
        self._theta[:] = np.concatenate(checked)  # at once: Ctrl-C may come at any time

    def predict(self, X: ArrayLike) -> Array:
        """Return the output layer's activations.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples,) + input_shape

        Returns
        -------
        ndarray, shape (n_samples,) + output_shape
            In the network's dtype; probabilities for sigmoid and softmax outputs.

        Raises
        ------
        TypeError, ValueError
            If X is not finite real numbers of that shape, or a weight is not finite.
        """
        return self._run(X, levels=[len(self._layers)]).activations[0]

    __call__ = predict

    def predict_labels(self, X: ArrayLike) -> Array:
        """Return which class each sample is taken for.

        Parameters
        ----------
        X : array_like
            As for `predict`.

        Returns
        -------
        ndarray of int64
            The number of the largest output. With one output, a sigmoid, and with several of them, which stand
            each alone, 1 where it is above a half and else 0; of several in the shape of `predict`.

        Raises
        ------
        TypeError
            If the output layer is neither softmax nor sigmoid: its outputs are numbers.
        ValueError
            As for `predict`.

        Examples
        --------
        >>> import fastnn
        >>> network = fastnn.mlp(2, 3, output="softmax", seed=0)
        >>> network.predict_labels([[1.0, 2.0], [-1.0, 0.5]]).shape
        (2,)
        """
        code = self.output_layer.code
        if code not in (Activation.SOFTMAX, Activation.SIGMOID):
            raise TypeError(
                f"predict_labels needs a softmax or sigmoid output layer, and this network ends in "
                f"{code.name.lower()}: predict(X) has its numbers"
            )
        outputs = self.predict(X)
        if code == Activation.SOFTMAX:
            labels: Array = outputs.argmax(axis=-1)
            return labels
        found = (outputs > 0.5).astype(np.int64)
        return found[..., 0] if found.shape[-1] == 1 else found

    def forward(self, X: ArrayLike) -> Forward:
        """Return every layer's pre-activations ``z`` and activations ``a``.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples,) + input_shape

        Returns
        -------
        Forward
            ``pre_activations`` and ``activations``, each a list with one array per layer, of shape
            (n_samples, n_units), or as `Forward` says, in the network's dtype.

        Raises
        ------
        TypeError, ValueError
            If X is not finite real numbers of that shape, or a weight is not finite.
        """
        return self._run(X, levels=range(1, len(self._layers) + 1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, for `fastnn.load`.

        The file is whole or not there: whatever interrupts, `path` is the old file or
        the new one. It holds the arrays ``layers.0.weight`` (n_in, n_out),
        ``layers.0.bias`` (n_out,) and so on, and the architecture as metadata. Needs
        the package safetensors (the extra ``save``).

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there.

        Raises
        ------
        ImportError
            Without safetensors.
        OSError
            If the file cannot be written; a file that was there stays as it was.
        ValueError
            If a weight is not finite.
        """
        self.check_weights()
        files.write(path, "network", self._describe(), self._arrays(), load)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX file (the extra ``onnx``).

        Its input is ``X``, (batch, n_inputs), (batch, steps, features) or (batch, height, width, channels),
        its output ``Y``, (batch, n_outputs) or (batch, steps, n_outputs), in the network's dtype, tokens of an
        Embedding in int64; the batch is of any size. Of recurrent layers there are operators that
        onnxruntime has in float32 only: in float64 they are written step by step.

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there, at once or not at all.

        Raises
        ------
        ImportError
            If onnx is not installed.
        TypeError
            If a layer has no counterpart there: an RNN of another activation than tanh and relu, and gelu in float64.
        ValueError
            If a weight is not finite.
        """
        self.check_weights()
        exports.to_onnx(self._input_shape, self._layers, self.weights, path)

    def to_torch(self) -> Any:
        """Return the network as a PyTorch module.

        Returns
        -------
        torch.nn.Sequential
            A copy of the weights in Linear and Conv2d layers, each with its activation behind it,
            in the network's dtype. Images it takes as PyTorch does, (n_samples, channels, height,
            width): ``torch.from_numpy(X).movedim(-1, 1)``. Sequences it takes as the network does, through
            RNN, GRU and LSTM layers, each with an AllSteps or LastStep of ``fastnn.interop.steps`` behind it,
            and tokens of an Embedding as whole numbers.

        Raises
        ------
        ImportError
            If torch is not installed.
        TypeError
            If a layer has no counterpart there: an RNN of another activation than tanh and relu.
        """
        return exports.to_torch(self._input_shape, self._layers, self.weights)

    def _describe(self) -> dict[str, Any]:
        """Return the architecture as plain numbers and names."""
        if self._is_plain() and not any(isinstance(layer, Dropout) for layer in self._layers):  # as before others were
            layers = [[layer.n_units, layer.activation] for layer in self.dense_layers("this")]
            return {"n_inputs": self.n_inputs, "layers": layers, "dtype": self._dtype.name}
        described = [[type(layer).__name__, asdict(layer)] for layer in self._layers]
        return {"input_shape": self._input_shape, "layers": described, "dtype": self._dtype.name}

    def _rates(self) -> list[float]:
        """Return the share that is dropped in training of the inputs of each dense layer that the network ends with."""
        pairs = pairwise([Flatten(), *find_top(self._layers)])
        return [getattr(below, "rate", 0.0) for below, layer in pairs if isinstance(layer, Dense)]

    def _drop(self, key: int) -> Layout:
        """Return the layout of training steps, in which units are dropped as a key has them drawn."""
        rates = self._rates()
        return drop_units(self._layout, rates, key) if any(rates) else self._layout

    def _is_plain(self) -> bool:
        """Return whether a sample is a vector, and all layers are dense, or drop what these take in."""
        return find_plan(self._layout) is None and len(self._input_shape) == 1

    def _arrays(self) -> dict[str, Array]:
        """Return the weights by the names that they have in files."""
        return dict(zip(_names(self._layers), self.weights, strict=True))

    def check_weights(self) -> None:
        """Refuse NaN and infinity, which may have been written into `weights`.

        Raises
        ------
        ValueError
            Naming the array and the first index.
        """
        if not validate.is_finite(self._theta):
            finite = [bool(np.isfinite(array).all()) for array in self.weights]
            k = finite.index(False)
            validate.array(f"network.weights[{k}]", self.weights[k], self._dtype)

    def _run(self, X: ArrayLike, levels: Sequence[int]) -> Forward:
        """Run X forward, and keep the levels asked for."""
        self.check_weights()
        return self._run_checked(self.check_inputs(X), levels)

    def _run_checked(self, x: Array, levels: Sequence[int]) -> Forward:
        """Run checked samples forward, a block at a time, and keep the levels asked for."""
        result = Forward(
            *([np.empty((x.shape[0], *self._level_shapes[k - 1]), self._dtype) for k in levels] for _ in range(2))
        )
        places, n_steps = self._find_places(), count_steps(self._layout)
        for part, work in forward(self._layout, self._theta, x):
            for z, a, level in zip(*result, levels, strict=True):
                here = a[part]
                is_below, place = places[level - 1]
                for kind, out in ((Z, z), (A, a)):
                    if is_below:
                        found = view_below(self._layout, work, kind, place, len(here))
                    else:  # of a Flatten, what the dense layers take, of a Dropout, what is below
                        has_z = isinstance(self._layers[level - 1], Dense)
                        found = view(self._layout, work, kind if has_z else A, place, len(here) * n_steps)
                    out[part] = found.reshape(here.shape)
        return result

    def _find_places(self) -> list[tuple[bool, int]]:
        """Return, for each layer, if its level is below the dense ones, and its number there or among theirs."""
        plan = find_plan(self._layout)
        n_below, below, dense = len(plan.kinds) if plan else 0, 0, 0
        places = []
        for layer in self._layers:
            is_same = isinstance(layer, Flatten | Dropout)
            is_below = below < n_below
            below += is_below and not is_same
            dense += not is_below and not is_same
            places.append((is_below, below if is_below else dense))
        return places

    def check_inputs(self, X: ArrayLike) -> Array:
        """Return samples as rows of n_inputs finite numbers.

        Raises
        ------
        TypeError, ValueError
            If X is not finite real numbers of the right shape.
        """
        first = self._layers[0]
        if isinstance(first, Embedding):
            return validate.tokens(X, self.n_inputs, first.n_tokens, self._dtype)
        if len(self._input_shape) == 1:
            return validate.features(X, self.n_inputs, self._dtype)
        return validate.samples(X, self._input_shape, AXES[len(self._input_shape)][-1], self._dtype)

    def summary(self) -> None:
        """Print the layers, their shapes and numbers of parameters: what ``print(network)`` does."""
        print(self)  # noqa: T201

    def __repr__(self) -> str:
        rows = self._rows()
        letters = self._letters()
        for row in rows:
            for k, letter in enumerate(letters, -1 - len(letters)):
                row[k] = row[k] and f"{letter} {row[k]}"
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [self._summary()]
        for *texts, count in rows:
            cells = [cell.ljust(width) for cell, width in zip(texts, widths, strict=False)]
            lines.append("  " + "  ".join([*cells, count.rjust(widths[-1])]).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        shape = ["shape"] * (not self._is_plain())
        return html.table(self._summary(), ["layer", *shape, *self._letters(), "parameters"], self._rows())

    def _summary(self) -> str:
        inputs = " x ".join(f"{size:,}" for size in self._input_shape)
        plural = "s" * (self.n_inputs > 1)
        return f"Network: {inputs} input{plural}, {self.n_parameters:,} parameters, {self._dtype.name}"

    def _letters(self) -> list[str]:
        """Return what the layers' arrays are called, in mathematics."""
        names = {name for layer in self._layers for name in layer.parameters}
        return [letter for name, letter in LETTERS.items() if name in names]

    def _rows(self) -> list[list[str]]:
        """Return what is told of each layer: its name, the shapes of its weights and biases, their number.

        Unless all are dense, the shape of its level stands after its name.
        """
        rows = []
        left = iter(self.weights)
        for layer, shape in zip(self._layers, self._level_shapes, strict=True):
            texts = [str(layer)] if self._is_plain() else [str(layer), str(shape)]
            arrays = {LETTERS[name]: next(left) for name in layer.parameters}
            cells = [str(arrays[letter].shape) if letter in arrays else "" for letter in self._letters()]
            count = sum(array.size for array in arrays.values())
            rows.append([*texts, *cells, f"{count:,}" if arrays else ""])
        return rows


@named_arguments
def mlp(
    *sizes: int,
    hidden: HiddenName | Sequence[HiddenName] = "sigmoid",
    output: ActivationName = "identity",
    seed: int | np.random.Generator | None = None,
    dtype: DTypeLike = "float64",
    init: InitName | Initializer = "fan_in",
    dropout: float = 0.0,
) -> Network:
    """Return a network of dense layers, the short form of `Network`.

    Parameters
    ----------
    *sizes : int
        Units of every level, the inputs first and the outputs last: at least two.
    hidden : str or sequence of str, default "sigmoid"
        Activation of the hidden layers: of all, or one for each.
    output : str, default "identity"
        Activation of the output layer.
    seed, dtype, init
        As for `Network`.
    dropout : float, default 0.0
        The rate of a `Dropout` behind each hidden layer; 0 has none.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        As for `Network` and `Dropout`, for fewer than two sizes, and for dropout without hidden layers.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.mlp(784, 100, 10, hidden="sigmoid", output="softmax", seed=0).n_parameters
    79510
    """
    if len(sizes) < 2:
        given: Any = sizes[0] if sizes else ()
        is_list = isinstance(given, list | tuple) and len(given) > 1
        advice = f"; write them one by one: mlp({', '.join(map(str, given))})" if is_list else ""
        raise ValueError(f"mlp needs at least the number of inputs and of outputs, got sizes {sizes}{advice}")
    n_hidden = len(sizes) - 2
    # What can be neither, Dense refuses.
    is_one = isinstance(hidden, str) or not np.iterable(hidden)
    activations: list[Any] = [hidden] * n_hidden if is_one else [*hidden]
    if len(activations) != n_hidden:
        raise ValueError(f"hidden must be one activation, or {n_hidden}, one for each hidden layer, got {hidden}")
    rate = validate.number("dropout", dropout, low=0.0, high=1.0, open_high=True)
    behind = [Dropout(rate)] if rate else []
    if behind and not n_hidden:
        raise ValueError(f"dropout is of hidden layers, and sizes {sizes} have none, got {dropout}")
    layers: list[Layer] = []
    for n_units, activation in zip(sizes[1:-1], activations, strict=True):
        layers += [Dense(n_units, activation), *behind]
    return Network(sizes[0], [*layers, Dense(sizes[-1], output)], seed, dtype, init=init)


def load(path: str | os.PathLike[str]) -> Network:
    """Return the network that `Network.save`, or ``fastnn train`` at the terminal, wrote.

    The file is data: nothing in it is run. Its checksum, its architecture and every
    array's shape, dtype and values are checked, and no more memory is taken than a
    few times the file's length.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Network
        With the same bits.

    Raises
    ------
    ImportError
        Without safetensors (the extra ``save``).
    OSError
        If there is nothing to read.
    ValueError
        If the file is damaged, not fastnn's, or of a newer format.

    Examples
    --------
    >>> import fastnn, os, tempfile
    >>> network = fastnn.mlp(2, 3, 1, seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "network.safetensors")
    >>> network.save(path)
    >>> bool((fastnn.load(path).predict([[1.0, 2.0]]) == network.predict([[1.0, 2.0]])).all())
    True
    """
    kind, description, arrays = files.read(path, "network", "model")
    return restore_network(path, description if kind == "network" else description.get("network", {}), arrays)


def restore_network(path: str | os.PathLike[str], description: dict[str, Any], arrays: dict[str, Array]) -> Network:
    """Return the network that a file describes, if its arrays are those of that network."""
    with files.restoring(path, "network"):
        described = description["layers"]
        if len(described) > files.MAX_ARRAYS:
            raise ValueError(f"it has {len(described)} layers")
        if "input_shape" in description:
            shape = tuple(description["input_shape"])
            input_shape: Any = shape if len(shape) > 1 else shape[0]
            kinds = {kind.__name__: kind for kind in LAYERS}
            made: list[Layer] = [kinds[name](**_as_tuples(values)) for name, values in described]
        else:
            made = [Dense(n_units, activation) for n_units, activation in described]
            input_shape = description["n_inputs"]
        dtype = validate.choice("dtype", description["dtype"], validate.DTYPES)
        # Before anything of that size is allocated: a few bytes can describe a vast network.
        layers, _, layout = _plan(_check_shape(input_shape), made)
        wanted = dict(zip(_names(layers), parameter_shapes(layout), strict=True))
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted or any(array.dtype != dtype for array in arrays.values()):
            raise ValueError("its arrays are not those of the network that it describes")
        return Network._of(input_shape, layers, dtype, [arrays[name] for name in wanted])


def _as_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's fields as they were before they went through JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _list_arrays(layers: Sequence[Layer]) -> tuple[list[str], list[Any]]:
    """Return of each array of weights or biases what it is, and the layer that has it."""
    both = [(name, layer) for layer in layers for name in layer.parameters]
    return [name for name, _ in both], [layer for _, layer in both]


def _names(layers: Sequence[Layer]) -> list[str]:
    """Return what arrays of weights and biases are called in files."""
    return [f"layers.{k}.{name}" for k, layer in enumerate(layers) for name in layer.parameters]


def _check_shape(value: object) -> tuple[int, ...]:
    """Return the shape of a sample: of one number, of two, or of three."""
    if isinstance(value, tuple | list):
        if len(value) not in (2, 3):
            raise ValueError(
                "input_shape must be n_inputs, (steps, features) or (height, width, channels), "
                f"got {validate.show(value)}"
            )
        names = [f"the {name} of input_shape" for name in AXES[len(value)]]
        shape = tuple(validate.integer(name, size, low=1) for name, size in zip(names, value, strict=True))
        if math.prod(shape) > LARGEST:
            kind = "image" if len(shape) == 3 else "sequence"
            raise ValueError(f"input_shape {validate.show(shape)} is no {kind}'s: it takes more memory than there is")
        return shape
    return (validate.integer("n_inputs", value, low=1),)


def _plan(
    input_shape: tuple[int, ...], layers: Sequence[Layer]
) -> tuple[tuple[Layer, ...], list[tuple[int, ...]], Layout]:
    """Return layers that make a network, the shapes of their levels, and where everything stands."""
    checked, kinds, levels, shapes, n_steps = check_layers(input_shape, layers)
    dense = [layer for layer in find_top(checked) if isinstance(layer, Dense)]
    n_inputs = levels[-1].size // (n_steps or 1) if levels else input_shape[0]
    sizes = [n_inputs, *(layer.n_units for layer in dense)]
    for (n_in, n_units), layer in zip(pairwise(sizes), dense, strict=True):
        if n_in * n_units > LARGEST:
            raise ValueError(f"{layer} has {n_in} inputs each unit: so many weights take more memory than there is")
    codes = [layer.code for layer in dense]
    return checked, shapes, make_layout(sizes, codes, levels=levels, kinds=kinds, n_steps=n_steps)
