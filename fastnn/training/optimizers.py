"""Optimisers: hyperparameters, and the state that a run of steps carries."""

from dataclasses import dataclass

import numpy as np

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.kernels.updates import BETA1, BETA2, EPSILON, LR, MOMENTUM, N_RATES, WEIGHT_DECAY, Optimizer, Update


@dataclass(frozen=True)
class SGD:
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

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    References
    ----------
    .. [1] Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and
       momentum in deep learning", 2013, section 2.
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", validate.number("lr", self.lr, low=0.0))
        momentum = validate.number("momentum", self.momentum, low=0.0, high=1.0, open_high=True)
        object.__setattr__(self, "momentum", momentum)
        if validate.flag("nesterov", self.nesterov) and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for example SGD(0.01, 0.9, nesterov=True)")
        object.__setattr__(self, "weight_decay", validate.number("weight_decay", self.weight_decay, low=0.0))

    def make_update(self, theta: Array) -> Update:
        """Return the optimiser as kernels see it, at rest."""
        code = Optimizer.NESTEROV if self.nesterov else Optimizer.MOMENTUM if self.momentum else Optimizer.SGD
        rates = np.zeros(N_RATES)
        rates[[LR, WEIGHT_DECAY, MOMENTUM]] = self.lr, self.weight_decay, self.momentum
        return Update(int(code), rates, np.zeros((int(self.momentum > 0), theta.size), theta.dtype))


@dataclass(frozen=True)
class Adam:
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
        the running means then see. That is PyTorch's ``Adam``, not its ``AdamW``.

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
        object.__setattr__(self, "lr", validate.number("lr", self.lr, low=0.0))
        for name in ("beta1", "beta2"):
            value = validate.number(name, getattr(self, name), low=0.0, high=1.0, open_high=True)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "epsilon", validate.number("epsilon", self.epsilon, low=0.0, open_low=True))
        object.__setattr__(self, "weight_decay", validate.number("weight_decay", self.weight_decay, low=0.0))

    def make_update(self, theta: Array) -> Update:
        """Return the optimiser as kernels see it, at rest."""
        rates = np.zeros(N_RATES)
        rates[[LR, WEIGHT_DECAY]] = self.lr, self.weight_decay
        rates[[BETA1, BETA2, EPSILON]] = self.beta1, self.beta2, self.epsilon
        return Update(int(Optimizer.ADAM), rates, np.zeros((2, theta.size), theta.dtype))


OPTIMIZERS = (SGD, Adam)
