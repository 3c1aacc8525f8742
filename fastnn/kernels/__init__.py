"""Compiled code: arrays, numbers and NamedTuples of them, nothing else.

The vocabulary, the same in every file:

- ``theta``: every weight and bias in one flat vector, ``n_parameters`` long;
  `layout.Layout` says where each layer's ``W`` (n_in, n_out) and ``b`` (n_out,)
  stand in it. One vector makes an optimiser one loop, and one compiled version
  serves every depth (a tuple of arrays would compile anew for each).
- A *layer* is counted from 0. A *level* is a set of units: level 0 is the
  inputs, level ``layer + 1`` what the layer puts out.
- ``z``: pre-activations, ``a``: activations, ``slope``: da/dz.
- ``n_samples``: samples in the block at hand, ``n_units``: units of a level.
- A *chunk* is one thread's share: ``chunk`` of ``n_chunks``. Each output is
  written by one chunk and sums run in a fixed order, so the bits do not depend
  on the number of threads.
- Argument order: layout, theta, data, codes and numbers, workspace, output.

A step is a handful of *units* (`forward.run_forward`, `series.run_expansion`, and so
on), each compiled by itself and run by `training.run_steps` on every chunk in turn.

Activations, losses, methods and optimisers are integer codes: functions as
arguments would be compiled anew in every process.
"""
