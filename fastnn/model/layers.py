"""Layers, as the user describes them."""

from dataclasses import dataclass

from fastnn._support import validate
from fastnn.kernels.activations import Activation


@dataclass(frozen=True)
class Dense:
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
