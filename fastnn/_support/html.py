"""Tables for notebooks: HTML without a colour of its own, so that it suits a light theme and a dark one."""

from collections.abc import Sequence
from html import escape

import numpy as np

from fastnn._support.validate import Array

# A curve in a table: its size in pixels, and how many points of it are drawn at most.
WIDTH, HEIGHT, MAX_POINTS = 96, 20, 96
LEFT = 'style="text-align: left; white-space: nowrap"'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str | Array]]) -> str:
    """Return an HTML table; a cell is a text, or an array to be drawn as a curve."""
    lines = ["<table>", f"<caption {LEFT}>{escape(caption)}</caption>"]
    if rows:
        cells = "".join(f'<th scope="col">{escape(title)}</th>' for title in head[1:])
        lines += ["<thead>", f'<tr><th scope="col" {LEFT}>{escape(head[0])}</th>{cells}</tr>', "</thead>", "<tbody>"]
        for name, *values in rows:
            cells = "".join(f"<td>{_cell(value)}</td>" for value in values)
            lines.append(f'<tr><th scope="row" {LEFT}>{_cell(name)}</th>{cells}</tr>')
        lines.append("</tbody>")
    return "\n".join([*lines, "</table>"])


def _cell(content: str | Array) -> str:
    return escape(content) if isinstance(content, str) else _curve(content)


def _curve(values: Array) -> str:
    """Return a small curve of the finite values, in the colour of the text; nothing for fewer than two."""
    places = np.unique(np.linspace(0, len(values) - 1, MAX_POINTS).astype(int))
    places = places[np.isfinite(values[places])]
    if len(places) < 2:
        return ""
    heights = values[places] - values[places].min()
    x = 1 + (WIDTH - 2) * places / (len(values) - 1)
    y = HEIGHT - 1 - (HEIGHT - 2) * heights / (heights.max() or 1.0)
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
