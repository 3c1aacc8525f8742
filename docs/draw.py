"""Draw this folder's pictures anew: `python docs/draw.py`, with the extra `plot`."""

from pathlib import Path

import matplotlib
from matplotlib import pyplot

import fastnn
import fastnn.plot


def draw(folder: Path) -> None:
    """Write network.png, the picture on top of the README, into a folder."""
    network = fastnn.mlp(2, 3, 1, hidden="sigmoid", seed=0)
    network.weights = [[[0.8, 0.4, 0.3], [0.2, 0.9, 0.5]], [0, 0, 0], [[0.3], [0.5], [0.9]], [0]]
    with pyplot.style.context("default"):
        figure = fastnn.plot.network(network, x=[1, 1]).figure
        figure.savefig(folder / "network.png", dpi=80)
        pyplot.close(figure)


if __name__ == "__main__":
    matplotlib.use("agg")
    draw(Path(__file__).parent)
