"""The demonstration, in front of nobody."""

import re
import sys

import numba
import pytest

from fastnn.__main__ import main


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="takes hours without the JIT")
def test_the_demonstration(capsys):
    assert main() == 0
    text = capsys.readouterr().out
    accuracy, perturbations = re.search(r"test accuracy ([\d.]+)% after ([\d,]+) weight", text).groups()
    assert float(accuracy) >= 96.0
    # 30 epochs of 45 steps, each of which measures 2,410 weights.
    assert perturbations == f"{30 * 45 * 2410:,}"
    # The plain loop's rounding: a dozen units in the last place of a loss of order 0.1, over eps.
    assert float(re.search(r"the numbers agree to (\S+)", text).group(1)) <= 1e-10
    numpy_result, our_result = re.findall(r"w = (\S+)  b = (\S+)", text)
    for theirs, ours in zip(numpy_result, our_result, strict=True):
        assert float(ours) == pytest.approx(float(theirs), abs=1e-10)
    assert re.search(r"the same numbers, \d+ times faster", text)


def test_without_scikit_learn(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pip install scikit-learn" in captured.err
