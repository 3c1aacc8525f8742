"""What `fastnn.sklearn` calls where scikit-learn is older than 1.9, and has no callbacks."""

from collections.abc import Callable
from typing import Any, Self, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


class CallbackSupportMixin:
    """Has nobody to call."""

    def _init_callback_context(self, **_: Any) -> "Context":
        return Context()


class Context:
    """A task that nobody is told of."""

    def subcontext(self, _: str) -> Self:
        """Return a part of it."""
        return self

    def call_on_fit_task_begin(self, **_: Any) -> Self:
        """Begin."""
        return self

    def call_on_fit_task_end(self, **_: Any) -> bool:
        """End; nobody says that training should."""
        return False


def with_callbacks(method: Method) -> Method:
    """Return a method as it is."""
    return method
