"""A feed-forward network: its architecture and its weights."""

import itertools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastnn._engine.loop import forward
from fastnn._engine.workspace import count_parameters, make_layout, split, view
from fastnn._support import files, html, validate
from fastnn._support.validate import Array
from fastnn.interop import exports
from fastnn.kernels.activations import MODULES, Activation
from fastnn.kernels.work import A, Z
from fastnn.model.layers import Dense

INITS = ("fan_in", "standard_normal")


class Forward(NamedTuple):
    """What a forward pass computes, a list entry a layer, each array (n_samples, n_units)."""

    pre_activations: list[Array]
    activations: list[Array]


class Network:
    """A feed-forward network.

    Parameters
    ----------
    n_inputs : int
        Number of input features, at least 1.
    layers : sequence of Dense
        The layers in order, the output layer last. Softmax only there.
    seed : int, numpy.random.Generator or None, default None
        Where the initial weights come from. The same seed gives the same bits;
        None takes fresh entropy.
    dtype : {"float64", "float32"}, default "float64"
        Of the weights and of what is computed with them.
    init : {"fan_in", "standard_normal"}, default "fan_in"
        Weights are drawn from a Gaussian of mean 0; biases are zero. With "fan_in" its
        standard deviation is ``sqrt(1 / n_in)`` for sigmoid, tanh, identity and
        softmax [1]_, and ``sqrt(2 / ((1 + slope**2) * n_in))`` for the rectifiers,
        slope being 0.01 for leaky_relu and 0 for relu, elu, softplus and silu [2]_. With
        "standard_normal" it is 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, before anything is allocated.

    References
    ----------
    .. [1] LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.6.
    .. [2] He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, section 2.2.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Network(2, [fastnn.Dense(3, "sigmoid"), fastnn.Dense(1, "identity")], seed=0)
    Network: 2 inputs, 13 parameters, float64
      Dense(3, sigmoid)   W (2, 3)  b (3,)  9
      Dense(1, identity)  W (3, 1)  b (1,)  4
    """

    def __init__(
        self,
        n_inputs: int,
        layers: Sequence[Dense],
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike = "float64",
        *,
        init: str = "fan_in",
    ) -> None:
        validate.choice("init", init, INITS)
        rng = validate.generator("seed", seed)
        self._allocate(n_inputs, layers, dtype)
        for w, layer in zip(self.weights[::2], self._layers, strict=True):
            w[:] = rng.standard_normal(w.shape)
            if init == "fan_in":
                w *= _fan_in_deviation(layer.code, w.shape[0])

    def _allocate(self, n_inputs: int, layers: Sequence[Dense], dtype: DTypeLike) -> None:
        """Become a network of that architecture, with weights of zero."""
        self._n_inputs = validate.integer("n_inputs", n_inputs, low=1)
        self._layers = _check_layers(layers)
        self._dtype = validate.dtype(dtype)
        sizes = [self._n_inputs, *(layer.n_units for layer in self._layers)]
        self._layout = make_layout(sizes, [layer.code for layer in self._layers])
        self._theta = np.zeros(count_parameters(self._layout), self._dtype)

    @classmethod
    def _of(cls, n_inputs: int, layers: Sequence[Dense], dtype: DTypeLike, weights: Sequence[ArrayLike]) -> Self:
        """Return a network with these weights, for which nothing is drawn."""
        network = cls.__new__(cls)
        network._allocate(n_inputs, layers, dtype)
        network.weights = weights
        return network

    @property
    def n_inputs(self) -> int:
        """Number of input features."""
        return self._n_inputs

    @property
    def layers(self) -> tuple[Dense, ...]:
        """The layers in order."""
        return self._layers

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

        ``W`` has shape (n_in, n_out), ``b`` (n_out,). Assigning a list of arrays of
        these shapes copies them in, all or, if one does not fit, none.
        """
        return split(self._layout, self._theta)

    @weights.setter
    def weights(self, arrays: Sequence[ArrayLike]) -> None:
        here = self.weights
        if len(arrays) != len(here):
            raise ValueError(f"weights must be a list of {len(here)} arrays [W1, b1, ...], got {len(arrays)}")
        checked = []
        for k, (new, old) in enumerate(zip(arrays, here, strict=True)):
            array = validate.array(f"weights[{k}]", new, self._dtype)
            if array.shape != old.shape:
                raise ValueError(f"weights[{k}] must have shape {old.shape}, got {array.shape}")
            checked.append(array.ravel())
        self._theta[:] = np.concatenate(checked)  # at once: Ctrl-C may come at any time

    def predict(self, X: ArrayLike) -> Array:
        """Return the output layer's activations.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs)

        Returns
        -------
        ndarray, shape (n_samples, n_outputs)
            In the network's dtype; probabilities for sigmoid and softmax outputs.

        Raises
        ------
        TypeError, ValueError
            If X is not finite real numbers of that shape, or a weight is not finite.
        """
        return self._run(X, levels=[len(self._layers)]).activations[0]

    def forward(self, X: ArrayLike) -> Forward:
        """Return every layer's pre-activations ``z`` and activations ``a``.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs)

        Returns
        -------
        Forward
            ``pre_activations`` and ``activations``, each a list with one array of
            shape (n_samples, n_units) per layer, in the network's dtype.

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
        the package safetensors (``pip install 'fastnn-numba[save]'``).

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

        Its input is ``X``, (batch, n_inputs), its output ``Y``, (batch, n_outputs), in
        the network's dtype; the batch is of any size.

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there, at once or not at all.

        Raises
        ------
        ImportError
            If onnx is not installed.
        ValueError
            If a weight is not finite.
        """
        self.check_weights()
        exports.to_onnx(self._layers, self.weights, path)

    def to_torch(self) -> Any:
        """Return the network as a PyTorch module.

        Returns
        -------
        torch.nn.Sequential
            A copy of the weights in Linear layers, each with its activation behind it,
            in the network's dtype.

        Raises
        ------
        ImportError
            If torch is not installed.
        """
        return exports.to_torch(self._layers, self.weights)

    def _describe(self) -> dict[str, Any]:
        """Return the architecture as plain numbers and names."""
        layers = [[layer.n_units, layer.activation] for layer in self._layers]
        return {"n_inputs": self._n_inputs, "layers": layers, "dtype": self._dtype.name}

    def _arrays(self) -> dict[str, Array]:
        """Return the weights by the names that they have in files."""
        return dict(zip(_names(len(self._layers)), self.weights, strict=True))

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
        """Run X forward, a block of samples at a time, and keep the levels asked for."""
        self.check_weights()
        x = validate.features(X, self._n_inputs, self._dtype)
        result = Forward(*([np.empty((len(x), self._layout.sizes[k]), self._dtype) for k in levels] for _ in range(2)))
        for part, work in forward(self._layout, self._theta, x):
            for z, a, level in zip(*result, levels, strict=True):
                z[part] = view(self._layout, work, Z, level, len(z[part]))
                a[part] = view(self._layout, work, A, level, len(a[part]))
        return result

    def __repr__(self) -> str:
        rows = [(name, f"W {w}", f"b {b}", count) for name, w, b, count in self._rows()]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [self._summary()]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
            lines.append("  " + "  ".join([*cells, row[3].rjust(widths[3])]))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html.table(self._summary(), ["layer", "W", "b", "parameters"], self._rows())

    def _summary(self) -> str:
        return f"Network: {self._n_inputs:,} inputs, {self.n_parameters:,} parameters, {self._dtype.name}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Return what is told of each layer: its name, the shapes of its weights and biases, their number."""
        return [
            (f"Dense({layer.n_units}, {layer.activation})", str(w.shape), str(b.shape), f"{w.size + b.size:,}")
            for layer, w, b in zip(self._layers, self.weights[::2], self.weights[1::2], strict=True)
        ]


def mlp(
    *sizes: int,
    hidden: str = "sigmoid",
    output: str = "identity",
    seed: int | np.random.Generator | None = None,
    dtype: DTypeLike = "float64",
    init: str = "fan_in",
) -> Network:
    """Return a network of dense layers, the short form of `Network`.

    Parameters
    ----------
    *sizes : int
        Units of every level, the inputs first and the outputs last: at least two.
    hidden : str, default "sigmoid"
        Activation of the hidden layers.
    output : str, default "identity"
        Activation of the output layer.
    seed, dtype, init
        As for `Network`.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        As for `Network`, and for fewer than two sizes.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.mlp(784, 100, 10, hidden="sigmoid", output="softmax", seed=0).n_parameters
    79510
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp needs at least the number of inputs and of outputs, got sizes {sizes}")
    layers = [Dense(n_units, hidden) for n_units in sizes[1:-1]]
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
        Without safetensors (``pip install 'fastnn-numba[save]'``).
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
        layers = [Dense(n_units, activation) for n_units, activation in description["layers"]]
        n_inputs = validate.integer("n_inputs", description["n_inputs"], low=1)
        dtype = validate.choice("dtype", description["dtype"], validate.DTYPES)
        sizes = [n_inputs, *(layer.n_units for layer in layers)]
        # Before anything of that size is allocated: a few bytes can describe a vast network.
        shapes = [shape for n_in, n_out in itertools.pairwise(sizes) for shape in ((n_in, n_out), (n_out,))]
        wanted = dict(zip(_names(len(layers)), shapes, strict=True))
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted or any(array.dtype != dtype for array in arrays.values()):
            raise ValueError("its arrays are not those of the network that it describes")
        return Network._of(n_inputs, layers, dtype, [arrays[name] for name in wanted])


def _names(n_layers: int) -> list[str]:
    """Return what W1, b1, W2, ... are called in files."""
    return [f"layers.{k}.{kind}" for k in range(n_layers) for kind in ("weight", "bias")]


def _check_layers(layers: Sequence[Dense]) -> tuple[Dense, ...]:
    """Return the layers as a tuple, if they make a network."""
    try:
        checked = tuple(layers)
    except TypeError:
        raise TypeError(f"layers must be a list of fastnn.Dense, got {layers!r}") from None
    if not checked:
        raise ValueError("layers is empty: a network needs at least its output layer")
    for k, layer in enumerate(checked):
        if not isinstance(layer, Dense):
            raise TypeError(f"layers[{k}] must be a fastnn.Dense, got {layer!r}")
        if layer.code == Activation.SOFTMAX and k < len(checked) - 1:
            raise ValueError(
                f"layers[{k}] is softmax, which is for the output layer only; "
                f"use {', '.join(code.name.lower() for code in MODULES)}"
            )
    return checked


def _fan_in_deviation(code: Activation, n_in: int) -> float:
    """Return the standard deviation of a layer's initial weights; see `Network`."""
    slope = MODULES[code].SLOPE_BELOW if code in MODULES else 1.0
    return float(np.sqrt(2.0 / ((1.0 + slope**2) * n_in)))
