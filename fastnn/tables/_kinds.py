"""Which kind a column is of: decided once, when a model is trained."""

import re

import numpy as np

from fastnn.tables._cells import Cells
from fastnn.tables._errors import Option, TableError
from fastnn.tables._text import CODE, find_fault, find_unit, number_pattern

# A target of whole numbers is one of classes up to so many different ones.
MAX_CLASSES = 20
# More different texts than this, and than every second row can have, are ids or names.
MAX_FEW = 10


def holds_categories(cells: Cells) -> bool:
    """Return whether an input is one of categories, else of numbers or booleans.

    Raises
    ------
    TableError
        If it is neither, but ids, names, or what only looks like numbers.
    """
    advice = (
        "leave it out with ",
        Option("drop", cells.name),
        ", or take it as it is with ",
        Option("category", cells.name),
    )
    if holds_numbers(cells, *advice):
        return False
    n_values = int((~cells.is_missing).sum())
    if not cells.is_listed and len(cells.texts) > max(MAX_FEW, n_values / 2):
        raise TableError(
            f"column {cells.name!r} has {len(cells.texts):,} different texts in {n_values:,} rows, "
            "as ids and names have: ",
            *advice,
        )
    return True


def holds_classes(cells: Cells, task: str) -> bool:
    """Return whether a target is a class: text, true or false, or few different whole numbers that come again."""
    if task != "auto":
        return task == "classes"
    if cells.is_boolean or not holds_numbers(cells, "or take it as it is with ", Option("task", "classes")):
        return True
    numbers = cells.read_numbers(False)[~cells.is_missing]
    different = np.unique(numbers)
    return bool(different.size <= min(MAX_CLASSES, len(numbers) / 2) and (different % 1 == 0).all())


def holds_numbers(cells: Cells, *advice: str | Option) -> bool:
    """Return whether a column is one of numbers or booleans, else of categories.

    Raises
    ------
    TableError
        For a text that looks like a number and is none, with advice.
    """
    if cells.is_listed or not cells.is_text:
        return not cells.is_listed
    if not cells.is_typed:
        if cells.is_boolean:
            return True
        if (cells.is_number | cells.is_missing).all():
            if (row := cells.find_unusable()) is not None:
                raise cells.refuse(row, *advice)
            return not cells.match(CODE).any()
    for text in cells.texts:
        if find_fault(text, cells.decimal):
            raise cells.refuse(cells.find(text), *advice)
    if unit := find_unit(cells.texts):
        raise TableError(
            f"{cells.at(cells.find(unit))}, which is a number with its unit: write plain numbers, ", *advice
        )
    others = [text for text in cells.texts if not re.fullmatch(number_pattern(cells.decimal), text)]
    if MAX_CLASSES < len(cells.texts) - len(others) < len(cells.texts):
        raise TableError(
            f"{cells.at(cells.find(others[0]))}, and numbers elsewhere: mend it, if it is a missing value, say ",
            Option("na", others[0]),
            ", ",
            *advice,
        )
    return False
