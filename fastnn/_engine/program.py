"""What a step is made of: the units of each phase, compiled when a program first has them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine.threads import load_layer
from fastnn._support.interrupt import call_apart
from fastnn.kernels.backprop import run_backward
from fastnn.kernels.descent import run_descent
from fastnn.kernels.direct import run_direct
from fastnn.kernels.forward import run_forward, run_inputs
from fastnn.kernels.layout import Layout
from fastnn.kernels.series.carried import run_carried
from fastnn.kernels.series.expansion import is_curved_above, run_expansion
from fastnn.kernels.training import Phase, Program
from fastnn.kernels.work import Block, Method, Task

Units = dict[Phase, list[Any]]

_programs: dict[tuple[Any, ...], Program] = {}
_is_curved_above = getattr(is_curved_above, "py_func", is_curved_above)  # what the kernel was made from


def list_units(layout: Layout, task: Task, needs_direct: bool) -> Units:
    """Return the units of each phase of a step; those of `Phase.DIRECT` are left out until they are needed."""
    units: Units = {Phase.INPUTS: [run_inputs], Phase.FORWARD: [run_forward]}
    if task.method == Method.BACKPROP:
        units[Phase.BACK] = [run_backward]
    elif task.method == Method.SERIES:
        units[Phase.BACK] = [run_expansion, run_carried] if is_deep(layout, task) else [run_expansion]
    if task.method == Method.DIRECT or needs_direct:
        units[Phase.DIRECT] = [run_direct]
    if task.method != Method.NONE:
        units[Phase.DESCENT] = [run_descent]
    return units


def is_deep(layout: Layout, task: Task) -> bool:
    """Return if the series of any layer has to be carried up past the next level."""
    return task.method == Method.SERIES and bool(_is_curved_above(layout, task.loss, 0))


def find_program(
    layout: Layout,
    task: Task,
    needs_direct: bool,
    dtype: np.dtype[Any],
    shared: tuple[Any, ...],
    call: Callable[[Program], object],
) -> Program:
    """Return the program of a step, its units compiled; what calls them is compiled by calling it once.

    Ctrl-C does not wait for either.

    Parameters
    ----------
    layout, task, needs_direct
        See `list_units`.
    dtype : dtype
        The network's.
    shared : tuple
        What units are handed packed.
    call : callable
        It runs a program without taking a step.
    """
    units = list_units(layout, task, needs_direct)
    key = dtype, *((phase, unit) for phase in units for unit in units[phase])

    def compile_units() -> None:
        load_layer()
        arguments = shared, Block(0, 0, 1, 1, True, True), task, 1, np.int64(0)
        addresses = [unit.address(arguments) for phase in units for unit in units[phase]]
        counts = [len(units.get(phase, [])) for phase in Phase]
        program = Program(
            units=np.array(addresses, object if JIT_DISABLED else np.int64),
            starts=np.cumsum([0, *counts], dtype=np.int64),
        )
        call(program)
        _programs[key] = program

    if key not in _programs:
        call_apart(compile_units)
    return _programs[key]
