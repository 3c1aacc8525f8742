"""Layers, as the user describes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar, NamedTuple, get_args

from fastnn._support import validate
from fastnn._support.choices import ActivationName, HiddenName, PaddingName
from fastnn._support.names import Named, named_fields
from fastnn.kernels.activations import MODULES, Activation
from fastnn.kernels.layers import Kind, average_pool, conv, embedding, gru, lstm, max_pool, repeat, rnn
from fastnn.kernels.layers.maps import Geometry

LARGEST = 2**40  # units that a level has below the dense layers, or weights that a layer has
IMAGE, SEQUENCE, FLAT = "an image", "a sequence", "a flat level"


@named_fields
@dataclass(frozen=True)
class Dense(Named):
    """A fully connected layer: ``z = a_prev @ W + b``, ``a = activation(z)``.

    It takes an image as a vector, and works on every step of a sequence by itself. Its weights are ``W``
    (n_in, n_units) and ``b`` (n_units,).

    Parameters
    ----------
    n_units : int
        Units of the layer, at least 1.
    activation : str
        ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01 below
        zero), ``"elu"`` (alpha 1), ``"softplus"``, ``"silu"`` (``z * sigmoid(z)``, also called swish),
        ``"gelu"`` (exact, not by tanh), ``"hard_sigmoid"``, ``"identity"``, or, on the output layer
        only, ``"softmax"``.

    Raises
    ------
    TypeError, ValueError
        If ``n_units`` is not a positive integer or the activation is unknown.
    """

    n_units: int
    activation: ActivationName

    kind: ClassVar[Kind] = Kind.CONV  # below layers with shared weights
    takes: ClassVar[tuple[str, ...]] = (FLAT, SEQUENCE, IMAGE)
    parameters: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_units", validate.integer("n_units", self.n_units, low=1))
        validate.choice("activation", self.activation, (member.name.lower() for member in Activation))

    @property
    def code(self) -> Activation:
        """The activation as kernels know it."""
        return Activation[self.activation.upper()]

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
        """Return what it makes of a level below layers with shared weights: a kernel as large as it, or as a step."""
        size = (1, 1) if place == SEQUENCE else (below.height, below.width)
        geometry = conv.shape(below, size, (1, 1), "valid", self.n_units, int(self.code))
        return geometry._replace(shapes=((geometry.n_inputs, self.n_units), (self.n_units,)))

    def __str__(self) -> str:
        return f"Dense({self.n_units}, {self.activation})"


@named_fields
@dataclass(frozen=True)
class Conv2D(Named):
    """A convolution over images: each filter is laid at every place, ``z = sum(W * patch) + b``, ``a = activation(z)``.

    As in every library it is a cross-correlation: the kernel is not flipped. Channels
    stand last. Below it is the image, another Conv2D or a pool, never a flat level. Its weights are ``W``
    (height, width, channels, n_filters) and ``b`` (n_filters,).

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
    activation: HiddenName
    strides: int | tuple[int, int] = 1
    padding: PaddingName = "valid"

    kind: ClassVar[Kind] = Kind.CONV
    takes: ClassVar[tuple[str, ...]] = (IMAGE,)
    gives: ClassVar[str] = IMAGE
    parameters: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_filters", validate.integer("n_filters", self.n_filters, low=1))
        object.__setattr__(self, "kernel_size", validate.pair("kernel_size", self.kernel_size))
        object.__setattr__(self, "strides", validate.pair("strides", self.strides))
        _check_hidden(self.activation)
        validate.choice("padding", self.padding, get_args(PaddingName))

    @property
    def code(self) -> Activation:
        """The activation as kernels know it."""
        return Activation[self.activation.upper()]

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
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
class _Pool(Named):
    """What both pools have in common."""

    pool_size: int | tuple[int, int]
    strides: int | tuple[int, int] | None = None

    kind: ClassVar[Kind]
    takes: ClassVar[tuple[str, ...]] = (IMAGE,)
    gives: ClassVar[str] = IMAGE
    parameters: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pool_size", validate.pair("pool_size", self.pool_size))
        strides = self.pool_size if self.strides is None else validate.pair("strides", self.strides)
        object.__setattr__(self, "strides", strides)

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
        """Return what it makes of a level, or say why it cannot."""
        _check_fit("a pool", self.pool_size, below, " and leaves nothing of it; take a smaller pool")
        geometry: Geometry = self.shape(below, self.pool_size, self.strides)
        return geometry

    def __str__(self) -> str:
        strides = f", strides={_short(self.strides)}" if self.strides != self.pool_size else ""
        return f"{type(self).__name__}({_short(self.pool_size)}{strides})"


@named_fields
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


@named_fields
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


@named_fields
@dataclass(frozen=True)
class Flatten(Named):
    """An image as a vector, row by row, channels innermost: what a Dense layer takes it for anyway; or a sequence."""

    takes: ClassVar[tuple[str, ...]] = (IMAGE, SEQUENCE)
    gives: ClassVar[str] = FLAT
    parameters: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return "Flatten()"


class _Recurrent(Named):
    """What recurrent layers have in common."""

    n_units: int
    return_sequences: bool

    kind: ClassVar[Kind]
    takes: ClassVar[tuple[str, ...]] = (SEQUENCE,)
    parameters: ClassVar[tuple[str, ...]] = ("weight", "recurrent_weight", "bias")
    shape: ClassVar[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_units", validate.integer("n_units", self.n_units, low=1))
        object.__setattr__(self, "return_sequences", validate.flag("return_sequences", self.return_sequences))

    @property
    def gives(self) -> str:
        """What it puts out."""
        return SEQUENCE if self.return_sequences else FLAT

    @property
    def code(self) -> Activation:
        """The activation as kernels know it, that initial weights go by."""
        return Activation.TANH

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
        """Return what it makes of a level."""
        geometry: Geometry = self.shape(below, self.n_units, self.return_sequences)
        return geometry

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.n_units}{', return_sequences=True' * self.return_sequences})"


@named_fields
@dataclass(frozen=True)
class RNN(_Recurrent):
    """A recurrent layer over a sequence: ``z = x @ W + a_before @ U + b``, ``a = activation(z)``, step by step.

    ``a_before`` is what the step before put out, zeros at the first. Its weights are ``W`` (n_in, n_units), ``U``
    (n_units, n_units) and ``b`` (n_units,).

    Parameters
    ----------
    n_units : int
        Units of the state, at least 1.
    activation : str
        As for `Dense`, without ``"softmax"``.
    return_sequences : bool, default False
        Put out every step's ``a``, a sequence; else the last step's alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    """

    n_units: int
    activation: HiddenName
    return_sequences: bool = False

    kind: ClassVar[Kind] = Kind.RNN

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_hidden(self.activation)

    @property
    def code(self) -> Activation:
        """The activation as kernels know it."""
        return Activation[self.activation.upper()]

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
        """Return what it makes of a level."""
        return rnn.shape(below, self.n_units, int(self.code), self.return_sequences)

    def __str__(self) -> str:
        return f"RNN({self.n_units}, {self.activation}{', return_sequences=True' * self.return_sequences})"


@named_fields
@dataclass(frozen=True)
class LSTM(_Recurrent):
    """Long short-term memory over a sequence, as in PyTorch [1]_.

    Step by step ``i, f, o = sigmoid`` and ``g = tanh`` of a quarter each of ``x @ W + a_before @ U + b``, in the
    order i, f, g, o; then ``c = f * c_before + i * g`` and ``a = o * tanh(c)``. Before the first step, both are zero.
    Its weights are ``W`` (n_in, 4 n_units), ``U`` (n_units, 4 n_units) and ``b`` (4 n_units,).

    Parameters
    ----------
    n_units : int
        Units of the state, at least 1.
    return_sequences : bool, default False
        Put out every step's ``a``, a sequence; else the last step's alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.

    References
    ----------
    .. [1] Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers, Schmidhuber,
       Cummins, "Learning to Forget", 2000. ``W`` is ``weight_ih_l0.T`` of ``torch.nn.LSTM``, ``U`` is
       ``weight_hh_l0.T``, and ``b`` is ``bias_ih_l0 + bias_hh_l0``.
    """

    n_units: int
    return_sequences: bool = False

    kind: ClassVar[Kind] = Kind.LSTM
    shape: ClassVar[Any] = staticmethod(lstm.shape)


@named_fields
@dataclass(frozen=True)
class GRU(_Recurrent):
    """Gated recurrent units over a sequence, as in PyTorch [1]_.

    Step by step, with a third of the columns each for r, z and n in this order, ``r, z = sigmoid`` of
    ``x @ W + b[0] + a_before @ U + b[1]`` and ``n = tanh(x @ W + b[0] + r * (a_before @ U + b[1]))``; then
    ``a = (1 - z) * n + z * a_before``, zero before the first step. Its weights are ``W`` (n_in, 3 n_units), ``U``
    (n_units, 3 n_units) and ``b`` (2, 3 n_units).

    Parameters
    ----------
    n_units : int
        Units of the state, at least 1.
    return_sequences : bool, default False
        Put out every step's ``a``, a sequence; else the last step's alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.

    References
    ----------
    .. [1] Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
       Translation", 2014; r is applied after the product with U, as in PyTorch. ``W`` is ``weight_ih_l0.T`` of
       ``torch.nn.GRU``, ``U`` is ``weight_hh_l0.T``, and ``b`` has ``bias_ih_l0`` and ``bias_hh_l0`` as its rows.
    """

    n_units: int
    return_sequences: bool = False

    kind: ClassVar[Kind] = Kind.GRU
    shape: ClassVar[Any] = staticmethod(gru.shape)


@named_fields
@dataclass(frozen=True)
class Repeat(Named):
    """A flat level as every step of a sequence: what a decoder starts from. It has no weights.

    Parameters
    ----------
    n_steps : int
        Steps of the sequence, at least 1.

    Raises
    ------
    TypeError, ValueError
        If n_steps is not a positive integer.
    """

    n_steps: int

    kind: ClassVar[Kind] = Kind.REPEAT
    takes: ClassVar[tuple[str, ...]] = (FLAT,)
    gives: ClassVar[str] = SEQUENCE
    parameters: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_steps", validate.integer("n_steps", self.n_steps, low=1))

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
        """Return what it makes of a level, or say why it cannot."""
        if below.width * below.height > 1:
            raise ValueError("it repeats the units of a layer; put a Dense before it")
        return repeat.shape(below, self.n_steps)

    def __str__(self) -> str:
        return f"Repeat({self.n_steps})"


@named_fields
@dataclass(frozen=True)
class Embedding(Named):
    """Units for each of some tokens, ``a = W[token]``: the first layer of ``Network(steps, ...)`` over whole numbers.

    Its weights are ``W`` (n_tokens, n_units) alone. A perturbation of ``W[token, unit]`` moves that unit at the steps
    where the token stands.

    Parameters
    ----------
    n_tokens : int
        How many there are: the inputs are 0 to ``n_tokens - 1``. At most 2**24, which float32 holds.
    n_units : int
        Features that each step has then, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    """

    n_tokens: int
    n_units: int

    kind: ClassVar[Kind] = Kind.EMBEDDING
    takes: ClassVar[tuple[str, ...]] = (FLAT,)
    gives: ClassVar[str] = SEQUENCE
    parameters: ClassVar[tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_tokens", validate.integer("n_tokens", self.n_tokens, low=1, high=2**24))
        object.__setattr__(self, "n_units", validate.integer("n_units", self.n_units, low=1))

    @property
    def code(self) -> Activation:
        """The activation as kernels know it."""
        return Activation.IDENTITY

    def _make_geometry(self, below: Geometry, place: str) -> Geometry:
        """Return what it makes of a level."""
        return embedding.shape(below, self.n_tokens, self.n_units)

    def __str__(self) -> str:
        return f"Embedding({self.n_tokens}, {self.n_units})"


@named_fields
@dataclass(frozen=True)
class Dropout(Named):
    """What the `Dense` above takes in is dropped in training: in each step of `Trainer.fit`, another share of it [1]_.

    A value is 0 with the probability ``rate``, drawn anew for each step, sample and unit, of a sequence for each of its
    steps, and else ``a / (1 - rate)``, so that its mean stays. Only steps of `Trainer.fit` drop, and the history's
    losses are those of the steps; `predict`, `evaluate`, validation and `fastnn.gradient` have all values, as they are.
    What is dropped is a function of the trainer's seed, the step, and the sample's place in the epoch or, with a
    ``block_size``, in its batch: the same on any number of threads or workers, and for all readings of the loss that a
    step's gradient takes. It stands before a `Dense`, of those that a network ends with: between two of them, on the
    inputs, or on what layers over images or sequences put out; not among these. It has no weights.

    Parameters
    ----------
    rate : float
        The share that is dropped, at least 0 and below 1. 0 drops nothing.

    Raises
    ------
    TypeError, ValueError
        If the rate is no such number.

    References
    ----------
    .. [1] Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural networks
       from overfitting", 2014.

    Examples
    --------
    >>> import fastnn
    >>> layers = [fastnn.Dense(100, "relu"), fastnn.Dropout(0.5), fastnn.Dense(10, "softmax")]
    >>> fastnn.Network(784, layers)
    Network: 784 inputs, 79,510 parameters, float64
      Dense(100, relu)    W (784, 100)  b (100,)  78,500
      Dropout(0.5)
      Dense(10, softmax)  W (100, 10)   b (10,)    1,010
    """

    rate: float

    takes: ClassVar[tuple[str, ...]] = (FLAT, SEQUENCE, IMAGE)
    parameters: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", validate.number("rate", self.rate, low=0.0, high=1.0, open_high=True))

    def __str__(self) -> str:
        return f"Dropout({self.rate:g})"


Layer = Dense | Conv2D | MaxPool2D | AveragePool2D | Flatten | RNN | GRU | LSTM | Repeat | Embedding | Dropout
LAYERS = (Dense, Conv2D, MaxPool2D, AveragePool2D, Flatten, RNN, GRU, LSTM, Repeat, Embedding, Dropout)
OTHERS = f"use {', '.join(code.name.lower() for code in MODULES)}"


class Checked(NamedTuple):
    """Layers that make a network."""

    layers: tuple[Any, ...]
    kinds: list[Kind]  # of those below the trailing dense ones
    levels: list[Geometry]  # the inputs, unless they are flat and all layers dense, and what these make of them
    shapes: list[tuple[int, ...]]  # of a sample in the level of each layer
    n_steps: int  # of the sequence that the trailing dense layers work on, 0 if they do not


def _short(value: Any) -> str:
    """Return a pair of equal numbers as one."""
    return str(value[0] if value[0] == value[1] else value)


def _check_hidden(activation: str) -> None:
    """Refuse what is no activation of a layer below the dense ones."""
    if activation == "softmax":
        raise ValueError("softmax is for the output layer only, a Dense; " + OTHERS)
    validate.choice("activation", activation, (code.name.lower() for code in MODULES))


def _check_fit(what: str, size: Any, below: Geometry, hint: str) -> None:
    """Refuse what is larger than the level below."""
    if size[0] > below.height or size[1] > below.width:
        raise ValueError(
            f"{what} of {size[0]} x {size[1]} does not fit into an image of {below.height} x {below.width}{hint}"
        )


def check_layers(input_shape: tuple[int, ...], layers: Sequence[Layer]) -> Checked:
    """Return the layers, and what comes of the inputs below the trailing dense ones, if they make a network."""
    try:
        checked: tuple[Any, ...] = tuple(layers)
    except TypeError:
        raise TypeError(f"layers must be a list of fastnn.Dense and other layers, got {layers!r}") from None
    if not checked:
        raise ValueError("layers is empty: a network needs at least its output layer")
    for k, layer in enumerate(checked):
        if not isinstance(layer, LAYERS):
            names = [kind.__name__ for kind in LAYERS]
            hint = f"; write {layer.__name__}(...)" if isinstance(layer, type) and layer in LAYERS else ""
            raise TypeError(f"layers[{k}] must be a fastnn.{', '.join(names[:-1])} or {names[-1]}, got {layer!r}{hint}")
        if isinstance(layer, Dense) and layer.code == Activation.SOFTMAX and k < len(checked) - 1:
            raise ValueError(f"layers[{k}] is softmax, which is for the output layer only; {OTHERS}")
    n_below = len(checked) - len(find_top(checked))
    place = {1: FLAT, 2: SEQUENCE, 3: IMAGE}[len(input_shape)]
    height, width, channels = (*(1,) * (3 - len(input_shape)), *input_shape)
    if isinstance(checked[0], Embedding):
        width, channels = channels, width  # a number is a step
    levels = [Geometry(height, width, channels)]
    kinds: list[Kind] = []
    shapes: list[tuple[int, ...]] = []
    n_windows = 1
    for k, layer in enumerate(checked):
        _check_place(k, checked, input_shape, place)
        if isinstance(layer, Dropout):
            _check_dropout(k, checked, n_below)
        if k < n_below and not isinstance(layer, Flatten):
            below = levels[-1]
            try:
                level = layer._make_geometry(below, place)
            except ValueError as error:
                raise ValueError(f"layers[{k}] is {layer}: {error}") from None
            # Windows upon windows have whatever is in several of them measured several times.
            n_windows = n_windows * math.prod(level.kernel_size) if level.selects else 1
            if max(level.size * n_windows, level.n_weights) > LARGEST:
                raise ValueError(f"layers[{k}] is {layer}: so many units take more memory than there is")
            levels.append(level)
            kinds.append(layer.kind)
        if isinstance(layer, Dropout):
            shapes.append(shapes[-1] if k else input_shape)
            continue
        if not isinstance(layer, Dense):
            place = layer.gives
        elif place == IMAGE:
            place = FLAT
        last = levels[-1]
        n_units = layer.n_units if isinstance(layer, Dense) else last.channels
        whole = {FLAT: (), SEQUENCE: (last.width,), IMAGE: (last.height, last.width)}[place]
        shapes.append((*whole, n_units) if not isinstance(layer, Flatten) else (last.size,))
    if not isinstance(checked[-1], Dense):
        raise ValueError(f"the last layer must be a fastnn.Dense, whose units are the outputs, got {checked[-1]}")
    is_plain = n_below == 0 and len(input_shape) == 1
    return Checked(checked, kinds, [] if is_plain else levels, shapes, levels[-1].width if place == SEQUENCE else 0)


def find_top(layers: Sequence[Any]) -> list[Any]:
    """Return the dense layers that a network ends with, and what drops what they take in."""
    return list(takewhile(lambda layer: isinstance(layer, Dense | Dropout), reversed(layers)))[::-1]


def _check_dropout(k: int, layers: Sequence[Any], n_below: int) -> None:
    """Refuse a Dropout that does not drop what one of the dense layers takes in that a network ends with."""
    where = ""
    if k == len(layers) - 1:
        where = "stands last: outputs are never dropped; take it away"
    elif isinstance(layers[k + 1], Dropout):
        both = Dropout(1 - (1 - layers[k].rate) * (1 - layers[k + 1].rate))
        where = f"comes before layers[{k + 1}], {layers[k + 1]}: one that does what both do is {both}"
    elif k < n_below:
        where = (
            f"stands below layers[{n_below - 1}], {layers[n_below - 1]}: what the Dense layers take in that a network "
            "ends with can be dropped; put it above"
        )
    if where:
        raise ValueError(f"layers[{k}] is {layers[k]}, which {where}")


def _check_place(k: int, layers: Sequence[Any], input_shape: tuple[int, ...], place: str) -> None:
    """Refuse a layer that does not take what is below it."""
    layer = layers[k]
    if isinstance(layer, Embedding) and (k > 0 or place != FLAT):
        raise ValueError(f"layers[{k}] is {layer}, which takes a network's inputs; put it first in Network(steps, ...)")
    if place in layer.takes:
        return
    wanted = layer.takes[0]
    if k == 0:
        flat = f"{input_shape[0]} flat input{'s' * (input_shape[0] > 1)}"
        inputs = flat if place == FLAT else f"{place} of {input_shape}"
        where = f"the network takes {inputs}"
        hints = {
            IMAGE: "; write Network((height, width, channels), ...)",
            SEQUENCE: "; write Network((steps, features), ...)",
        }
        where += hints.get(wanted, "") if place == FLAT else ""
    else:
        where = f"comes after layers[{k - 1}], {layers[k - 1]}"
        if wanted == IMAGE:
            where += "; put it before that"
        elif wanted == FLAT:
            where += "; put a layer between that puts out its last step only, or Flatten() and a Dense"
        elif getattr(layers[k - 1], "return_sequences", None) is False:
            where += "; give that return_sequences=True"
        else:
            where += "; put a Repeat between"
    raise ValueError(f"layers[{k}] is {layer}, which needs {' or '.join(layer.takes)}, and {where}")
