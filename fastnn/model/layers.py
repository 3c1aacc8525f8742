"""Layers, as the user describes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fastnn._support import validate
from fastnn._support.names import Named, named_fields
from fastnn.kernels.activations import MODULES, Activation
from fastnn.kernels.layers import Kind, average_pool, conv, max_pool
from fastnn.kernels.layers.maps import Geometry

PADDINGS = ("valid", "same")
LARGEST = 2**40  # units that a level has


@named_fields
@dataclass(frozen=True)
class Dense(Named):
    """A fully connected layer: ``z = a_prev @ W + b``, ``a = activation(z)``.

    Parameters
    ----------
    n_units : int
        Units of the layer, at least 1.
    activation : str
        ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01 below
        zero), ``"elu"`` (alpha 1), ``"softplus"``, ``"silu"`` (``z * sigmoid(z)``, also called swish),
        ``"identity"``, or, on the output layer only, ``"softmax"``.

    Raises
    ------
    TypeError, ValueError
        If ``n_units`` is not a positive integer or the activation is unknown.
    """

    n_units: int
    activation: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_units", validate.integer("n_units", self.n_units, low=1))
        validate.choice("activation", self.activation, (member.name.lower() for member in Activation))

    @property
    def code(self) -> Activation:
        """The activation as kernels know it."""
        return Activation[self.activation.upper()]

    def __str__(self) -> str:
        return f"Dense({self.n_units}, {self.activation})"


@dataclass(frozen=True)
class Conv2D:
    """A convolution over images: each filter is laid at every place, ``z = sum(W * patch) + b``, ``a = activation(z)``.

    As in every library it is a cross-correlation: the kernel is not flipped. Channels
    stand last. Below it is the image, another Conv2D or a pool, never a flat level.

    Parameters
    ----------
    n_filters : int
        Channels that it puts out, at least 1.
    kernel_size : int or (int, int)
        Height and width of a filter.
    activation : str
        As for `Dense`, without ``"softmax"``.
    strides : int or (int, int), default 1
        Steps from one place to the next, down and to the right.
    padding : {"valid", "same"}, default "valid"
        "valid" has a filter inside the image only. "same" puts zeros around it, so that
        there is a place for each stride begun; an odd one below and to the right, as in Keras.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    """

    n_filters: int
    kernel_size: int | tuple[int, int]
    activation: str
    strides: int | tuple[int, int] = 1
    padding: str = "valid"

    kind: ClassVar[Kind] = Kind.CONV

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_filters", validate.integer("n_filters", self.n_filters, low=1))
        object.__setattr__(self, "kernel_size", validate.pair("kernel_size", self.kernel_size))
        object.__setattr__(self, "strides", validate.pair("strides", self.strides))
        if self.activation == "softmax":
            raise ValueError("softmax is for the output layer only, a Dense; " + OTHERS)
        validate.choice("activation", self.activation, (code.name.lower() for code in MODULES))
        validate.choice("padding", self.padding, PADDINGS)

    @property
    def code(self) -> Activation:
        """The activation as kernels know it."""
        return Activation[self.activation.upper()]

    def _make_geometry(self, below: Geometry) -> Geometry:
        """Return what it makes of a level, or say why it cannot."""
        kernel_size: Any = self.kernel_size
        strides: Any = self.strides
        if self.padding == "valid":
            _check_fit("a kernel", kernel_size, below, "; take a smaller one, or padding='same'")
        return conv.shape(below, kernel_size, strides, self.padding, self.n_filters, int(self.code))

    def __str__(self) -> str:
        parts = [str(self.n_filters), _short(self.kernel_size), self.activation]
        parts += [f"strides={_short(self.strides)}"] * (self.strides != (1, 1))
        parts += [f"padding={self.padding}"] * (self.padding != "valid")
        return f"Conv2D({', '.join(parts)})"


@dataclass(frozen=True)
class _Pool:
    """What both pools have in common."""

    pool_size: int | tuple[int, int]
    strides: int | tuple[int, int] | None = None

    kind: ClassVar[Kind]
    shape: ClassVar[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pool_size", validate.pair("pool_size", self.pool_size))
        strides = self.pool_size if self.strides is None else validate.pair("strides", self.strides)
        object.__setattr__(self, "strides", strides)

    def _make_geometry(self, below: Geometry) -> Geometry:
        """Return what it makes of a level, or say why it cannot."""
        _check_fit("a pool", self.pool_size, below, " and leaves nothing of it; take a smaller pool")
        geometry: Geometry = self.shape(below, self.pool_size, self.strides)
        return geometry

    def __str__(self) -> str:
        strides = f", strides={_short(self.strides)}" if self.strides != self.pool_size else ""
        return f"{type(self).__name__}({_short(self.pool_size)}{strides})"


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """The largest of each window of an image, channel by channel. It has no weights.

    Parameters
    ----------
    pool_size : int or (int, int)
        Height and width of a window. Rows and columns that fill no window are left out.
    strides : int or (int, int) or None, default None
        Steps from one window to the next; None is pool_size: windows side by side.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    """

    kind = Kind.MAX_POOL
    shape = staticmethod(max_pool.shape)


@dataclass(frozen=True)
class AveragePool2D(_Pool):
    """The mean of each window of an image, channel by channel. It has no weights.

    Parameters
    ----------
    pool_size : int or (int, int)
        Height and width of a window. Rows and columns that fill no window are left out.
    strides : int or (int, int) or None, default None
        Steps from one window to the next; None is pool_size: windows side by side.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    """

    kind = Kind.AVERAGE_POOL
    shape = staticmethod(average_pool.shape)


@dataclass(frozen=True)
class Flatten:
    """An image as a vector, row by row, channels innermost: what a Dense layer takes it for anyway."""

    def __str__(self) -> str:
        return "Flatten()"


Stem = Conv2D | MaxPool2D | AveragePool2D
Layer = Dense | Conv2D | MaxPool2D | AveragePool2D | Flatten
LAYERS = (Dense, Conv2D, MaxPool2D, AveragePool2D, Flatten)
OTHERS = f"use {', '.join(code.name.lower() for code in MODULES)}"


def _short(value: Any) -> str:
    """Return a pair of equal numbers as one."""
    return str(value[0] if value[0] == value[1] else value)


def _check_fit(what: str, size: Any, below: Geometry, hint: str) -> None:
    """Refuse what is larger than the level below."""
    if size[0] > below.height or size[1] > below.width:
        raise ValueError(
            f"{what} of {size[0]} x {size[1]} does not fit into an image of {below.height} x {below.width}{hint}"
        )


def check_layers(input_shape: tuple[int, ...], layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], list[Geometry]]:
    """Return the layers, and the image with what comes of it below the dense ones, if they make a network."""
    try:
        checked: tuple[Any, ...] = tuple(layers)
    except TypeError:
        raise TypeError(f"layers must be a list of fastnn.Dense and other layers, got {layers!r}") from None
    if not checked:
        raise ValueError("layers is empty: a network needs at least its output layer")
    levels = [Geometry(*input_shape)] if len(input_shape) == 3 else []
    flat = None if levels else -1  # what made it so: a layer, or the inputs
    n_windows = 1
    for k, layer in enumerate(checked):
        if not isinstance(layer, LAYERS):
            names = [kind.__name__ for kind in LAYERS]
            hint = f"; write {layer.__name__}(...)" if isinstance(layer, type) and layer in LAYERS else ""
            raise TypeError(f"layers[{k}] must be a fastnn.{', '.join(names[:-1])} or {names[-1]}, got {layer!r}{hint}")
        if isinstance(layer, Dense):
            if layer.code == Activation.SOFTMAX and k < len(checked) - 1:
                raise ValueError(f"layers[{k}] is softmax, which is for the output layer only; {OTHERS}")
            flat = k if flat is None else flat
        elif flat is not None:
            place = f"and comes after layers[{flat}], {checked[flat]}; put it before that"
            if flat < 0:
                place = (
                    f"and the network takes {input_shape[0]} flat inputs; write Network((height, width, channels), ...)"
                )
            raise ValueError(f"layers[{k}] is {layer}, which needs an image, {place}")
        elif isinstance(layer, Flatten):
            flat = k
        else:
            try:
                levels.append(layer._make_geometry(levels[-1]))
            except ValueError as error:
                raise ValueError(f"layers[{k}] is {layer}: {error}") from None
            # Windows upon windows have whatever is in several of them measured several times.
            n_windows = n_windows * math.prod(levels[-1].kernel_size) if levels[-1].selects else 1
            if levels[-1].size * n_windows > LARGEST:
                raise ValueError(f"layers[{k}] is {layer}: so many units take more memory than there is")
    if not isinstance(checked[-1], Dense):
        raise ValueError(f"the last layer must be a fastnn.Dense, whose units are the outputs, got {checked[-1]}")
    return checked, levels
