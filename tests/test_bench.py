"""What `fastnn bench` measures."""

import fastnn
from fastnn._cli import bench


def test_a_row_a_network(monkeypatch):
    times = iter([0.5, 0.25, 1.0, 0.8])
    monkeypatch.setattr(bench, "time_step", lambda sizes, gradient: next(times))
    table = [*bench.table()]
    assert len({len(line) for line in table}) == 1
    lines = [" ".join(line.split()) for line in table]
    assert lines == [
        "one step, ms perturbation back-propagation ratio",
        "64-32-10, batch 32 0.500 0.250 2.00",
        "784-100-10, batch 32 1.000 0.800 1.25",
    ]


def test_a_step_is_timed(monkeypatch):
    monkeypatch.setattr(bench, "N_STEPS", 2)
    assert bench.time_step((3, 2, 2), fastnn.Backprop()) > 0
