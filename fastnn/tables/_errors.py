"""What is wrong with a table, and the option that helps, in the words of Python or of the terminal."""

import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Names in a message.
MAX_NAMED = 10


class Option(NamedTuple):
    """An option in a message: ``drop='id'`` in Python, ``--drop id`` at the terminal."""

    name: str
    value: str | int

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}"

    def at_terminal(self) -> str:
        """Return the option as it is typed."""
        return f"--no-{self.name}" if self.value is False else f"--{self.name} {shlex.quote(str(self.value))}"


class TableError(ValueError):
    """A table that cannot be read, trained on or predicted.

    The message says what was found, where, and what to do. Its parts are texts and options.
    """

    def __init__(self, *parts: str | Option) -> None:
        super().__init__("".join(map(str, parts)))
        self._parts = parts

    def at_terminal(self) -> str:
        """Return the message with options as they are typed."""
        return "".join(part if isinstance(part, str) else part.at_terminal() for part in self._parts)


def count(things: Sequence[object], noun: str) -> str:
    """Return a noun, in the plural for more than one."""
    return noun + "s" * (len(things) > 1)


def list_names(names: Iterable[object]) -> str:
    """Return names for a message, of many the first ones."""
    quoted = [*map(repr, names)]
    more = [f"and {len(quoted) - MAX_NAMED} more"] if len(quoted) > MAX_NAMED + 1 else []
    return ", ".join([*quoted[:MAX_NAMED], *more] if more else quoted)
