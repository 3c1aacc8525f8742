"""Modules that PyTorch has no class for; importing this imports it."""

from typing import Any

from fastnn._support.validate import optional

with optional("fastnn.interop.steps", "torch"):
    from torch import nn


class AllSteps(nn.Module):  # type: ignore[misc]
    """Every step's outputs, of the tuple that a recurrent layer of torch.nn puts out."""

    def forward(self, outputs: Any) -> Any:
        """Return them, (n_samples, steps, units)."""
        return outputs[0]


class LastStep(nn.Module):  # type: ignore[misc]
    """The last step's outputs, of the tuple that a recurrent layer of torch.nn puts out."""

    def forward(self, outputs: Any) -> Any:
        """Return them, (n_samples, units)."""
        return outputs[0][:, -1]


class Repeat(nn.Module):  # type: ignore[misc]
    """What comes in as every step of a sequence.

    Parameters
    ----------
    n_steps : int
        Steps of the sequence.
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps

    def forward(self, x: Any) -> Any:
        """Return it, (n_samples, n_steps, units), of (n_samples, units)."""
        return x.unsqueeze(1).expand(-1, self.n_steps, -1)

    def extra_repr(self) -> str:
        """Return its setting."""
        return str(self.n_steps)
