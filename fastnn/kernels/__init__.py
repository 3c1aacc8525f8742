"""Compiled code: arrays, numbers and NamedTuples of them, nothing else.

A step is a `training.Program`: a handful of units, each compiled by itself, run by `training.run_steps` on
every chunk, phase by phase. In the order in which data flow:

    forward -> backprop, or series (and direct) -> descent -> optimizers

The vocabulary, the same in every file:

- ``theta``: every weight and bias in one flat vector, ``n_parameters`` long;
  `layout.Layout` says where each layer's ``W`` (n_in, n_out) and ``b`` (n_out,)
  stand in it. One vector makes an optimiser one loop, and one compiled version
  serves every depth (a tuple of arrays would compile anew for each).
- A *layer* is counted from 0. A *level* is a set of units: level 0 is the
  inputs, level ``layer + 1`` what the layer puts out.
- ``z``: pre-activations, ``a``: activations, ``slope``: da/dz, ``delta``: the gradient of the batch's mean loss
  with respect to z, ``grad_a``: with respect to a.
- *perturbation*: what is added to a weight, ``eps``; ``move``: by how much z moves for that, ``eps`` times the
  weight's input; ``moved``, *change*: what follows further up, never two values subtracted.
- *coefficients*: those of a Taylor series in a move. *curvature*: what the second and third are made of.
- *derivative bounds*, *majorants*: what coefficients are at most, wherever z may be.
- *residual scale*: what a loss's higher coefficients are proportional to: how far from right a sample is.
- *kink*: where a slope jumps. *direct*: measured by carrying changes up, not by a series.
- ``n_samples``: samples in the *block* at hand, as many of a batch as the workspace holds.
- ``work``: the workspace. *scratch*: parts of it that hold nothing from one unit to the next.
- A *chunk* is one thread's share: ``chunk`` of ``n_chunks``. Work is dealt in three ways: by `work.span` (rows, cut
  at whole tiles), like cards where neighbours are cheap or dear together (`direct.list_inputs`), and the first
  product in two parts of the inputs (`work.count_parts`). Each output is written by one chunk and
  sums run in a fixed order, so the bits do not depend on the number of threads.
- Argument order: layout, theta, data, codes and numbers, workspace, output.

Activations, losses, methods and optimisers are integer codes: functions as
arguments would be compiled anew in every process.
"""
