"""How numbers are written: what is one, and what only looks like one."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn.tables._errors import Option

# What counts as missing in files of text, in any case. An empty cell does everywhere.
MISSING = ("NA", "N/A", "NaN", "NULL", "#N/A", "<NA>")
TRUTHS = {"false": 0.0, "true": 1.0}
# Patterns of whole texts, without spaces around them. These two, and that of numbers, Arrow's RE2 reads like Python.
CODE = r"[+-]?0[0-9]+"  # of digits: 007 is none of amounts
COMMA = r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?"  # a decimal comma
WHOLE = r"[+-]?[0-9]+"
_DIGITS = r"[0-9][0-9.,' \u2019\u00a0\u202f]*"
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_TIME = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[ap]m)?(?: ?(?:z|utc|[+-][0-9]{2}:?[0-9]{2}))?"
_DAY = (
    r"[0-9]{4}-(?:0[1-9]|1[0-2])|[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\2(?:[0-9]{2}){1,2}"
    rf"|[0-9]{{1,2}}[-. /]*{_MONTH}[-. /]*(?:[0-9]{{2}}){{1,2}}|{_MONTH}\.? [0-9]{{1,2}},? [0-9]{{4}}"
)
_CURRENCY = "(?:[$€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY|CNY|INR)"
LOOKS = {
    "infinity": r"[+-]?inf(?:inity)?",
    "a number with separators of thousands": r"[+-]?[0-9]{1,3}(?:[,.'_ \u2019\u00a0\u202f][0-9]{3})+(?:[.,][0-9]+)?",
    "an amount of money": rf"[+-]?{_CURRENCY} ?[+-]?{_DIGITS}|[+-]?{_DIGITS} ?{_CURRENCY}",
    "a percentage": rf"[+-]?{_DIGITS}[%‰]",
    "a number with a sign that is none of - and +": (
        rf"[\u2212\u2013\u2014~≈±] ?{_DIGITS}|[+-] {_DIGITS}|{_DIGITS}[-\u2212]|\({_DIGITS}\)"
    ),
    "a date or a time": rf"(?:{_DAY})(?:[t ]+{_TIME})?|{_TIME}",
}
_LOOKS = {what: re.compile(pattern, re.IGNORECASE) for what, pattern in LOOKS.items()}
_UNIT = re.compile(r"(?P<number>[+-]?[0-9]+(?:[.,][0-9]+)?) ?(?P<unit>(?:[^\W\d_]|°)[^\d_]*)")


class Fault(NamedTuple):
    """What a text is that looks like a number and is none, and what to do about it."""

    what: str
    remedy: tuple[str | Option, ...] = ("write plain numbers, ",)


def number_pattern(decimal: str) -> str:
    """Return the pattern of plain numbers with that decimal mark."""
    mark = re.escape(decimal)
    return rf"[+-]?(?:[0-9]+{mark}?[0-9]*|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"


def read_number(text: str, decimal: str) -> float | None:
    """Return the number that a text is, or None."""
    return float(text.replace(decimal, ".")) if re.fullmatch(number_pattern(decimal), text) else None


def spell(value: Any) -> str:
    """Return a value as text; 1.0 and 1 are the same."""
    is_whole = not isinstance(value, str | bool) and value % 1 == 0
    return str(int(value) if is_whole else value)


def spell_alike(texts: Sequence[str], decimal: str) -> list[str] | None:
    """Return texts as a column of a type has them, if all are numbers, or all say true or false, else None.

    Codes are none of numbers, nor is what float64 cannot hold: it would all be infinity.
    """
    if all(text.lower() in TRUTHS for text in texts):
        return [text.capitalize() for text in texts]
    spelled = []
    for text in texts:
        number = read_number(text, decimal)
        if number is None or not math.isfinite(number) or re.fullmatch(CODE, text):
            return None
        # Whole numbers may have more digits than float64.
        spelled.append(spell(int(text) if re.fullmatch(WHOLE, text) else number))
    return spelled


def find_fault(text: str, decimal: str) -> Fault | None:
    """Return what is wrong with a text that looks like a number, if it is none that can be used."""
    number = read_number(text, decimal)
    if number is not None:
        if re.fullmatch(WHOLE, text) and not -(2**63) <= int(text) < 2**64:
            return Fault("a whole number beyond 64 bits, as ids are", ())
        return None if math.isfinite(number) else Fault("beyond the range of float64")
    other = "." if decimal == "," else ","
    if read_number(text, other) is not None:
        return Fault(
            f"a number only if {other!r} is the decimal mark",
            ("say ", Option("decimal", other), " if so, else write plain numbers, "),
        )
    for what, pattern in _LOOKS.items():
        if pattern.fullmatch(text):
            if what.startswith("a date"):
                return Fault(what, ("make numbers of it, such as years, ",))
            return Fault(what)
    return None


def find_unit(texts: Sequence[str]) -> str | None:
    """Return a text with a unit, if all are numbers, and there are fewer units than numbers."""
    matches = {text: _UNIT.fullmatch(text) for text in texts if not re.fullmatch(number_pattern("."), text)}
    found = [match for match in matches.values() if match]
    units = {match["unit"].casefold() for match in found}
    is_unit = len(found) == len(matches) and len({match["number"] for match in found}) > len(units)
    are_ordinal = units & {"st", "nd", "rd", "th"}  # codespell:ignore
    return next(iter(matches)) if is_unit and not are_ordinal else None
