"""Estimates of a gradient by perturbing much at once, a file each: units that a step of the usual kind has besides.

A new one is a file with the same names as the others, its member of `estimators.Estimator`, and here its import and its
entry in `MODULES`. A file has, in this order,

- ``UNITS``: by the names of the phases (`training.Phase`), the units that are added to them;
- ``STEM_UNITS``: those with layers below the dense ones;
- ``REPLACES``: whether they take the place of the method's own ``BACK`` and ``BELOW``.

One that has a ``MOVE`` makes the step. The optimiser that all others are handed rests then, so the method's own
gradient, if there is one, is left whole in work.gradient.

All are handed, behind what every unit is, a `scheme.Scheme` and what is needed below the dense layers
(`scheme.Below`).
"""

from fastnn.kernels.estimators import Estimator
from fastnn.kernels.schemes import differences, directions, nodes, unit_slopes, weight_slopes

MODULES = {
    Estimator.DIRECTIONS: directions,
    Estimator.NODES: nodes,
    Estimator.WEIGHT_SLOPES: weight_slopes,
    Estimator.UNIT_SLOPES: unit_slopes,
    Estimator.DIFFERENCES: differences,
}
