"""Attributes that are computed when they are first read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functools import cached_property as cached_property
else:

    class cached_property:
        """As `functools.cached_property`, whose lock, before Python 3.12, is one for all objects of a class.

        In a process that was forked while another thread computed one, nobody gave it back, and whoever read such an
        attribute waited for ever.
        """

        def __init__(self, compute):
            self._compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, owner, kind=None):
            if owner is None:
                return self
            value = owner.__dict__[self._name] = self._compute(owner)
            return value
