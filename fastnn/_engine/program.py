"""What a step is made of: the units of each phase, compiled when a program first has them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._compiler.jit import ADDRESS
from fastnn._engine.plan import StemPlan, find_plan, has_series, is_pulled
from fastnn._engine.recipe import Recipe
from fastnn._engine.threads import load_layer
from fastnn._engine.workspace import make_plain_task
from fastnn._support.interrupt import call_apart
from fastnn.kernels.backprop import run_backward
from fastnn.kernels.clipping import run_clip, run_norm, run_stem_clip
from fastnn.kernels.descent import run_descent
from fastnn.kernels.devices import run_devices, run_stem_devices
from fastnn.kernels.direct import Rise, run_carry, run_direct
from fastnn.kernels.forward import run_forward, run_inputs
from fastnn.kernels.layers import FUNCTIONS, MODULES, Kind
from fastnn.kernels.layers.maps import Part
from fastnn.kernels.layout import Layout
from fastnn.kernels.series.carried import run_carried
from fastnn.kernels.series.expansion import is_curved_above, run_expansion
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
    if is_clipped:
        units[Phase.NORM] = [run_norm]
        units[Phase.CLIP] = [run_clip, run_stem_clip] if plan else [run_clip]
    if on_devices:
        phase = Phase.WRITE if is_clipped or (recipe and recipe.moves) else Phase.DESCENT
        units.setdefault(phase, []).extend([run_stem_devices, run_devices] if plan else [run_devices])
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
    call: Callable[[Program], object],
) -> Program:
    """Return the program of a step, its units compiled; what calls them is compiled by calling it once.

    Ctrl-C does not wait for either.

    Parameters
    ----------
    layout, task, needs_direct, on_devices, is_clipped, recipe
        See `list_units`.
    packed : tuple
        What units are handed packed: what all have to do with; the `Stem`, or an empty tuple without layers below the
        dense ones; and the scheme with what it has below, or an empty tuple. Addresses are written into these: of
        layers' units, and of what carries changes up.
    call : callable
        It runs a program without taking a step.
    """
    units = list_units(layout, task, needs_direct, on_devices, is_clipped, recipe)
    shared, stem, scheme = packed
    key = shared[1].dtype, *((phase, unit) for phase in units for unit in units[phase])
    below: Any = scheme[1] if scheme else ()
    handed = {unit: packed for unit in find_own(recipe)} | {unit: (shared, stem) for unit in STEM_UNITS}

    def compile_units() -> None:
        load_layer()
        addresses = [unit.address((handed.get(unit, shared), *ARGUMENTS)) for phase in units for unit in units[phase]]
        counts = [len(units.get(phase, [])) for phase in Phase]
        program = Program(
            units=np.array(addresses, ADDRESS),
            starts=np.cumsum([0, *counts], dtype=np.int64),
        )
        call(program)
        _programs[key] = program

    def compile_carry() -> None:
        work.carry[0] = run_carry.address((shared, Rise(0, 0, 0, 0.0, 0, 0, 0)))

    def compile_layers(wanted: list[str], packed: tuple[Any, ...]) -> None:
        plan = find_plan(layout)
        assert plan
        for kind in set(plan.kinds):
            addresses = _find_addresses(kind, wanted, packed)
            for layer in np.flatnonzero([other == kind for other in plan.kinds]):
                packed[1].units[layer] = addresses

    def compile_below() -> None:
        dense, _, data, update, _ = shared
        packed = (dense, below.theta[0], data, update, below.work), below.stem
        compile_layers(["forward"], packed)
        below.units[0] = run_stem_forward.address((packed, *ARGUMENTS))

    if stem and not stem.units[:, 0].all():
        wanted = [name for phase in units for unit in units[phase] for name in STEM_UNITS.get(unit, ())]
        call_apart(lambda: compile_layers(wanted, (shared, stem)))
    if below and not below.units[0]:
        call_apart(compile_below)
    work: Work = shared[-1]
    carries = CARRYING | find_own(recipe) if recipe and recipe.is_carried else CARRYING
    if not work.carry[0] and any(unit in carries for phase in units for unit in units[phase]):
        call_apart(compile_carry)
    if key not in _programs:
        call_apart(compile_units)
    return _programs[key]


def _find_addresses(kind: Kind, wanted: list[str], packed: tuple[Any, ...]) -> list[Any]:
    """Return a row of `Stem.units`: what a kind of layer does, compiled if it is wanted."""
    arguments = packed, Part(0, 0, 0, 0, 0, 0.0, 0)
    named = {name: getattr(MODULES[kind], name, None) for name in FUNCTIONS}
    return [unit.address(arguments) if unit and name in wanted else 0 for name, unit in named.items()]
