"""What a step is made of: the units of each phase, compiled when a program first has them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._compiler.ahead import compile_all
from fastnn._compiler.jit import ADDRESS, is_compiled, sign
from fastnn._engine.plan import StemPlan, find_plan, has_series, is_pulled
from fastnn._engine.recipe import Recipe
from fastnn._engine.threads import load_layer
from fastnn._engine.workspace import has_dropout, make_plain_task
from fastnn._support.interrupt import call_apart
from fastnn.kernels.backprop import run_backward
from fastnn.kernels.clipping import run_clip, run_norm, run_stem_clip
from fastnn.kernels.descent import run_descent
from fastnn.kernels.devices import run_devices, run_stem_devices
from fastnn.kernels.direct import Rise, run_carry, run_direct
from fastnn.kernels.dropout import run_masks
from fastnn.kernels.forward import run_forward, run_inputs
from fastnn.kernels.layers import FUNCTIONS, MODULES
from fastnn.kernels.layers.maps import Part
from fastnn.kernels.layout import Layout
from fastnn.kernels.series.carried import run_carried
from fastnn.kernels.series.expansion import is_curved_above, run_expansion
from fastnn.kernels.sparse import run_sparse_descent, run_sparse_inputs
from fastnn.kernels.stem import (
    run_stem_add,
    run_stem_back,
    run_stem_descent,
    run_stem_direct,
    run_stem_forward,
    run_stem_inputs,
)
from fastnn.kernels.stem_down import run_stem_down, run_stem_found
from fastnn.kernels.stem_series import run_recurrent, run_second
from fastnn.kernels.training import Phase, Program
from fastnn.kernels.work import Block, Method, Task, Work

Units = dict[Phase, list[Any]]

# Those that are handed the stem as well, and what each has a layer do.
STEM_UNITS: dict[Any, tuple[str, ...]] = {
    run_stem_inputs: (),
    run_stem_forward: ("forward",),
    run_stem_back: ("back",),
    run_stem_add: ("add",),
    run_stem_direct: ("reach", "want", "start", "carry"),
    run_recurrent: ("add", "reach", "want", "start", "carry"),
    run_second: (),
    run_stem_down: ("reach", "want", "start", "carry", "pull"),
    run_stem_found: (),
    run_stem_descent: (),
    run_stem_clip: (),
    run_stem_devices: (),
}
# What takes the place of others where the inputs are listed, and is handed the lists.
SPARSE_UNITS: dict[Any, Any] = {run_inputs: run_sparse_inputs, run_descent: run_sparse_descent}
# Those that have changes carried up to the loss.
CARRYING = {run_direct, run_stem_direct, run_stem_down, run_recurrent}

# Of every unit, behind what it is handed packed.
ARGUMENTS = Block(0, 0, 1, 1, True, True), make_plain_task(-1, Method.NONE, 1), 1, np.int64(0)

_programs: dict[tuple[Any, ...], Program] = {}
_is_curved_above = getattr(is_curved_above, "py_func", is_curved_above)  # what the kernel was made from


def list_units(
    layout: Layout,
    task: Task,
    needs_direct: bool,
    on_devices: bool,
    is_clipped: bool = False,
    recipe: Recipe | None = None,
    is_listed: bool = False,
) -> Units:
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
    if plan := find_plan(layout):
        _add_stem(units, Method(task.method), plan)
    if recipe:
        _add_scheme(units, recipe, plan is not None)
    if has_dropout(layout):
        units[Phase.MASKS] = [run_masks]
    if is_clipped:
        units[Phase.NORM] = [run_norm]
        units[Phase.CLIP] = [run_clip, run_stem_clip] if plan else [run_clip]
    if on_devices:
        phase = Phase.WRITE if is_clipped or (recipe and recipe.moves) else Phase.DESCENT
        units.setdefault(phase, []).extend([run_stem_devices, run_devices] if plan else [run_devices])
    if is_listed:
        units = {phase: [SPARSE_UNITS.get(unit, unit) for unit in listed] for phase, listed in units.items()}
    return dict(sorted(units.items()))


def _add_scheme(units: Units, recipe: Recipe, has_stem: bool) -> None:
    """Add what an estimate does besides."""
    module = find_scheme(recipe)
    if module.REPLACES:
        for phase in (Phase.BACK, Phase.BELOW):  # transposes are not wanted, either, but cost next to nothing
            units.pop(phase, None)
    if recipe.plan.n_rows:
        units[Phase.INPUTS].append(find_order())
    for name, unit in (module.STEM_UNITS if has_stem else module.UNITS).items():
        units.setdefault(Phase[name], []).append(unit)


def _add_stem(units: Units, method: Method, plan: StemPlan) -> None:
    """Add what takes the place of the inputs, and what is done with the layers below the dense ones."""
    by_series = has_series(plan, method)
    units[Phase.INPUTS] = [run_stem_inputs, run_stem_forward]
    if method == Method.BACKPROP or by_series:
        units[Phase.BELOW] = [run_stem_back]
    if method != Method.NONE:
        units[Phase.SHARED] = [run_stem_add if method == Method.BACKPROP else run_stem_direct]
        if by_series:
            units[Phase.SHARED].insert(0, run_recurrent)
            units[Phase.DESCENT].append(run_second)
        if is_pulled(plan, method):
            units[Phase.BELOW] = [run_stem_down]
            units[Phase.SHARED].insert(0, run_stem_found)
        units[Phase.DESCENT].append(run_stem_descent)


def find_own(recipe: Recipe | None) -> set[Any]:
    """Return the units that are handed the scheme."""
    if recipe is None:
        return set()
    module = find_scheme(recipe)
    return {find_order(), *module.UNITS.values(), *module.STEM_UNITS.values()}


def find_scheme(recipe: Recipe) -> Any:
    """Return the module of an estimate, imported when it is first used."""
    from fastnn.kernels.schemes import MODULES as SCHEMES

    return SCHEMES[recipe.estimator]


def find_order() -> Any:
    """Return the unit that draws the order of a sweep."""
    from fastnn.kernels.schemes.scheme import run_order

    return run_order


def is_deep(layout: Layout, task: Task) -> bool:
    """Return if the series of any layer has to be carried up past the next level."""
    return task.method == Method.SERIES and bool(_is_curved_above(layout, task.loss, 0))


def find_program(
    layout: Layout,
    task: Task,
    needs_direct: bool,
    on_devices: bool,
    is_clipped: bool,
    recipe: Recipe | None,
    packed: tuple[Any, ...],
    entry: Any,
    list_arguments: Callable[[Program], tuple[Any, ...]],
) -> Program:
    """Return the program of a step, its units compiled, and what calls them; Ctrl-C does not wait for that.

    Parameters
    ----------
    layout, task, needs_direct, on_devices, is_clipped, recipe
        See `list_units`.
    packed : tuple
        What units are handed packed: what all have to do with; the `Stem`, or an empty tuple without layers below the
        dense ones; the scheme with what it has below, or an empty tuple; and the lists of inputs, or an empty tuple.
        Addresses are written into these: of layers' units, and of what carries changes up.
    entry, list_arguments : callable
        What runs a program, and what it is called with.
    """
    shared, stem, scheme, listed = packed
    work: Work = shared[-1]
    units = list_units(layout, task, needs_direct, on_devices, is_clipped, recipe, bool(listed))
    key = shared[1].dtype, *((phase, unit) for phase in units for unit in units[phase])
    below: Any = scheme[1] if scheme else ()
    handed = {unit: packed[:3] for unit in find_own(recipe)} | {unit: (shared, stem) for unit in STEM_UNITS}
    handed |= dict.fromkeys(SPARSE_UNITS.values(), packed)
    listed_units = [unit for phase in units for unit in units[phase]]
    carries = CARRYING | find_own(recipe) if recipe and recipe.is_carried else CARRYING
    rise = shared, Rise(0, 0, 0, 0.0, 0, 0, 0)

    lacks_layers = bool(stem) and not stem.units[:, 0].all()
    lacks_below = bool(below) and not below.units[0]
    lacks_carry = not work.carry[0] and any(unit in carries for unit in listed_units)
    if not (lacks_layers or lacks_below or lacks_carry or key not in _programs):
        return _programs[key]
    wanted = [name for unit in listed_units for name in STEM_UNITS.get(unit, ())]
    if below:
        dense, _, data, update, _ = shared
        packed_below = (dense, below.theta[0], data, update, below.work), below.stem

    def list_wanted() -> list[tuple[Any, tuple[Any, ...]]]:
        """Return what is called, and with what: what takes long to compile first, and what takes as long last."""
        phases = sorted(units, key=lambda phase: phase in (Phase.MASKS, Phase.INPUTS, Phase.FORWARD))
        found = [(unit, (handed.get(unit, shared), *ARGUMENTS)) for phase in phases for unit in units[phase]]
        middle: list[tuple[Any, tuple[Any, ...]]] = [(run_carry, rise)] if lacks_carry else []
        if lacks_layers:
            middle += _list_layers(layout, wanted, (shared, stem))
        if lacks_below:
            middle += [*_list_layers(layout, ["forward"], packed_below), (run_stem_forward, (packed_below, *ARGUMENTS))]
        return found[:1] + middle + found[1:]

    def compile_units() -> None:
        load_layer()
        called = list_wanted()
        if is_compiled(entry):
            nothing = Program(np.empty(0, ADDRESS), np.empty(0, np.int64))
            jobs = [(unit.dispatcher, unit.sign(arguments)) for unit, arguments in called]
            compile_all([*jobs, (entry, sign(list_arguments(nothing)))])
        if lacks_layers:
            _write_addresses(layout, wanted, (shared, stem))
        if lacks_below:
            _write_addresses(layout, ["forward"], packed_below)
            below.units[0] = run_stem_forward.address((packed_below, *ARGUMENTS))
        if lacks_carry:
            work.carry[0] = run_carry.address(rise)
        if key not in _programs:
            addresses = [unit.address((handed.get(unit, shared), *ARGUMENTS)) for unit in listed_units]
            counts = [len(units.get(phase, [])) for phase in Phase]
            program = Program(
                units=np.array(addresses, ADDRESS),
                starts=np.cumsum([0, *counts], dtype=np.int64),
            )
            _programs[key] = program

    call_apart(compile_units)
    return _programs[key]


def _list_layers(layout: Layout, wanted: list[str], packed: tuple[Any, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Return the units that layers have of some names, and what they are called with."""
    plan = find_plan(layout)
    assert plan
    named = [getattr(MODULES[kind], name, None) for kind in set(plan.kinds) for name in FUNCTIONS if name in wanted]
    return [(unit, (packed, Part(0, 0, 0, 0, 0, 0.0, 0))) for unit in named if unit]


def _write_addresses(layout: Layout, wanted: list[str], packed: tuple[Any, ...]) -> None:
    """Write a row of `Stem.units` for each layer: what it does, compiled if it is wanted."""
    plan = find_plan(layout)
    assert plan
    called = dict(_list_layers(layout, wanted, packed))
    for layer, kind in enumerate(plan.kinds):
        for k, name in enumerate(FUNCTIONS):
            unit: Any = getattr(MODULES[kind], name, None)
            packed[1].units[layer, k] = unit.address(called[unit]) if unit in called and name in wanted else 0
