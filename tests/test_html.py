"""What notebooks show of a network and of a history is well formed, complete, and of no colour of its own."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import fastnn
from fastnn._support import html


def parse(thing):
    """Return the caption, the rows of cells as texts, and the points of the curve in each row."""
    html = thing._repr_html_() if hasattr(thing, "_repr_html_") else thing
    table = ElementTree.fromstring(html)  # strict: every tag closed, every & escaped
    assert table.tag == "table"
    rows = ["".join(cell.itertext()) for row in table.iter("tr") for cell in row]
    width = len(table.find(".//tr")) if rows else 1
    curves = [
        np.array([point.split(",") for point in line.get("points").split()], float) for line in table.iter("polyline")
    ]
    return table.find("caption").text, [rows[k : k + width] for k in range(0, len(rows), width)], curves


def make_history(loss, accuracy=None, **options):
    columns = [None if column is None else np.array(column, float) for column in (loss, accuracy)]
    return fastnn.History(*columns, None, None, np.full(len(loss), 0.25), **options)


def test_network():
    network = fastnn.mlp(784, 100, 10, hidden="leaky_relu", output="softmax", dtype="float32", seed=0)
    caption, rows, curves = parse(network)
    assert caption == repr(network).splitlines()[0] == "Network: 784 inputs, 79,510 parameters, float32"
    assert rows == [
        ["layer", "W", "b", "parameters"],
        ["Dense(100, leaky_relu)", "(784, 100)", "(100,)", "78,500"],
        ["Dense(10, softmax)", "(100, 10)", "(10,)", "1,010"],
    ]
    assert not curves


def test_history():
    caption, rows, curves = parse(make_history([4, 2, 1, 3], [0.25, 0.75, 0.75, 0.5], interrupted=True))
    assert caption == "History: 4 epochs in 1 s, interrupted"
    assert rows == [
        ["", "first", "best", "at epoch", "last", ""],
        ["loss", "4", "1", "3", "3", ""],
        ["accuracy", "0.25", "0.75", "2", "0.5", ""],
    ]
    loss, accuracy = curves
    # Left to right over the whole width, the largest value on top.
    np.testing.assert_allclose(loss[:, 0], 1 + np.arange(4) * (html.WIDTH - 2) / 3, atol=0.05)
    np.testing.assert_allclose(loss[:, 1], [1, 13, 19, 7])
    np.testing.assert_allclose(accuracy[:, 1], [19, 1, 1, 10])


def test_history_of_a_fit():
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 1.0])
    network = fastnn.mlp(1, 1, output="sigmoid", seed=0)
    trainer = fastnn.Trainer(network, loss="binary_cross_entropy", gradient=fastnn.Backprop())
    trainer.fit(X, y, epochs=2)
    trainer.fit(X, y, epochs=3, validation_data=(X, y))
    history = trainer.history
    _, rows, curves = parse(history)
    assert [row[0] for row in rows[1:]] == ["loss", "accuracy", "validation loss", "validation accuracy"]
    # The first two epochs had no validation: the first that is told of is the third's, where the curve begins.
    first, last = (f"{loss:.4g}" for loss in history.validation_loss[[2, -1]])
    assert rows[3][1:5] == [first, last, "5", last]
    assert [len(curve) for curve in curves] == [5, 5, 3, 3]


@pytest.mark.parametrize("loss", [[1.0], [np.nan, np.nan, 1.0], [np.inf, 2.0]])
def test_one_point_is_no_curve(loss):
    caption, rows, curves = parse(make_history(loss))
    assert rows[1][2] == f"{np.nanmin(loss):.4g}"
    assert not curves
    assert caption.startswith("History: 1 epoch in 0.25 s" if len(loss) == 1 else f"History: {len(loss)} epochs")


def test_history_of_nothing():
    assert parse(make_history([])) == ("History: 0 epochs", [], [])


def test_a_level_curve_is_drawn():
    ((_, heights),) = {tuple(curve.T[1]) for curve in parse(make_history([3, 3]))[2]}
    assert heights == html.HEIGHT - 1


def test_long_histories_stay_small():
    history = make_history(np.linspace(2, 1, 100_000))
    _, _, (curve,) = parse(history)
    assert len(curve) == html.MAX_POINTS
    assert curve[0].tolist() == [1, 1]
    assert curve[-1].tolist() == [html.WIDTH - 1, html.HEIGHT - 1]
    assert len(history._repr_html_()) < 3000


def test_everything_is_escaped():
    hostile = "<script>alert('&')</script>"
    table = html.table(hostile, [hostile, hostile], [(hostile, hostile)])
    assert "<script" not in table
    caption, rows, _ = parse(table)
    assert caption == hostile
    assert rows == [[hostile] * 2] * 2


def test_no_colour_but_the_theme_s():
    for thing in (fastnn.mlp(1, 1), make_history([2, 1])):
        html = thing._repr_html_()
        assert not re.search(r"#[0-9a-f]{3}|rgb|background", html)
        assert set(re.findall(r'(?:fill|stroke|color)="([^"]*)"', html)) <= {"none", "currentColor"}
        assert set(re.findall(r'style="([^"]*)"', html)) == {"text-align: left; white-space: nowrap"}
