"""Optimisers: hyperparameters, and the state that a run of steps carries."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn._support import validate
from fastnn._support.names import named_fields
from fastnn._support.validate import Array
from fastnn.kernels import optimizers as kernels


class Optimizer(ABC):
    """What all have in common; each is a frozen dataclass with the rates that its file in `fastnn.kernels` names."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    lr: float
    weight_decay: float

    @property
    @abstractmethod
    def code(self) -> kernels.Optimizer:
        """The optimiser as kernels know it."""

    def _check(self, below_one: Sequence[str] = (), positive: Sequence[str] = ()) -> None:
        """Cast the fields to floats, lr and weight_decay and those named, or refuse one that is out of its range."""
        for name in ("lr", *below_one, *positive, "weight_decay"):
            high = 1.0 if name in below_one else math.inf
            value = validate.number(
                name, getattr(self, name), low=0.0, high=high, open_low=name in positive, open_high=name in below_one
            )
            object.__setattr__(self, name, value)

    def make_update(self, theta: Array) -> kernels.Update:
        """Return the optimiser as kernels see it, at rest."""
        module = kernels.MODULES[self.code]
        rates = np.array([getattr(self, name) for name in module.RATES], np.float64)
        moments = np.zeros((module.N_MOMENTS, theta.size), theta.dtype)
        return kernels.Update(int(self.code), self.lr, self.weight_decay, math.inf, rates, moments)


@named_fields
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: ``w -= lr * g``, with momentum and weight decay if asked for.

    With momentum ``v = momentum * v + g`` and ``w -= lr * v``; with ``nesterov``
    ``w -= lr * (g + momentum * v)`` [1]_, the form of PyTorch. With weight decay, g is
    the gradient plus ``weight_decay * w``.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, at least 0.
    momentum : float, default 0.0
        At least 0 and below 1.
    nesterov : bool, default False
        Needs a positive momentum.
    weight_decay : float, default 0.0
        At least 0: the gradient of an L2 penalty, ``weight_decay / 2`` times the sum of
        the squared weights. Of the weights ``W`` alone, not of the biases (PyTorch's
        decays both). The loss that is reported is without it.
    sign : bool, default False
        Step by lr along each entry's sign alone: ``w -= lr * sign(g)``, signSGD [2]_. Without momentum.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    References
    ----------
    .. [1] Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and
       momentum in deep learning", 2013, section 2.
    .. [2] Bernstein and others, "signSGD: Compressed optimisation for non-convex problems", 2018.
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    sign: bool = False

    def __post_init__(self) -> None:
        self._check(below_one=("momentum",))
        if validate.flag("nesterov", self.nesterov) and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for example SGD(0.01, 0.9, nesterov=True)")
        if validate.flag("sign", self.sign) and self.momentum:
            raise ValueError(f"sign takes no momentum, got momentum={self.momentum:g}")

    @property
    def code(self) -> kernels.Optimizer:
        """The optimiser as kernels know it."""
        if self.sign:
            return kernels.Optimizer.SIGN_SGD
        if not self.momentum:
            return kernels.Optimizer.SGD
        return kernels.Optimizer.NESTEROV if self.nesterov else kernels.Optimizer.MOMENTUM


@named_fields
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam [1]_, algorithm 1, with its bias correction.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, at least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, at least 0 and below 1.
    epsilon : float, default 1e-8
        Added to the denominator, positive.
    weight_decay : float, default 0.0
        As for `SGD`: ``weight_decay * w`` is added to the gradient of each weight, which
        the running means then see. `AdamW` decays apart from them.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    References
    ----------
    .. [1] Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._check(below_one=("beta1", "beta2"), positive=("epsilon",))

    @property
    def code(self) -> kernels.Optimizer:
        """The optimiser as kernels know it."""
        return kernels.Optimizer.ADAM


@named_fields
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop [1]_: ``w -= lr * g / (sqrt(s) + epsilon)``, s the running mean of ``g * g``, the form of PyTorch.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, at least 0.
    alpha : float, default 0.99
        Decay of the running mean, at least 0 and below 1.
    epsilon : float, default 1e-8
        Added to the root, positive.
    weight_decay : float, default 0.0
        As for `SGD`.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    References
    ----------
    .. [1] Tieleman, Hinton, "Lecture 6.5: rmsprop", Neural Networks for Machine Learning, 2012.
    """

    lr: float = 0.01
    alpha: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._check(below_one=("alpha",), positive=("epsilon",))

    @property
    def code(self) -> kernels.Optimizer:
        """The optimiser as kernels know it."""
        return kernels.Optimizer.RMSPROP


@named_fields
@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay [1]_: ``w -= lr * weight_decay * w``, then a step of `Adam` without.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, at least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, at least 0 and below 1.
    epsilon : float, default 1e-8
        Added to the denominator, positive.
    weight_decay : float, default 0.01
        At least 0. The running means do not see it. Of the weights ``W`` alone, not of the
        biases (PyTorch's decays both).

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    References
    ----------
    .. [1] Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        self._check(below_one=("beta1", "beta2"), positive=("epsilon",))

    @property
    def code(self) -> kernels.Optimizer:
        """The optimiser as kernels know it."""
        return kernels.Optimizer.ADAMW


@named_fields
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad [1]_: ``w -= lr * g / (sqrt(s) + epsilon)``, s the sum of ``g * g`` from 0 on, the form of PyTorch.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, at least 0.
    epsilon : float, default 1e-10
        Added to the root, positive.
    weight_decay : float, default 0.0
        As for `SGD`.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    References
    ----------
    .. [1] Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.
    """

    lr: float = 0.01
    epsilon: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._check(positive=("epsilon",))

    @property
    def code(self) -> kernels.Optimizer:
        """The optimiser as kernels know it."""
        return kernels.Optimizer.ADAGRAD


OPTIMIZERS = (SGD, Adam, RMSprop, AdamW, Adagrad)
