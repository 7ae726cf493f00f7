"""Draw the curves of runs on one page: losses, losses by noise level, learning rate and gradient norm."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from unnoise.train.curves import Array, Curves, smoothed, thinned

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
WIDE: Final = 5.0  # ratio of the largest to the smallest value of an axis, from which it is logarithmic
INK, FAINT, GRID = "#333333", "#888888", "#e6e6e6"
INCHES, DPI = (12.0, 8.0), 150
SOLID: Final[dict[str, Any]] = {"linewidth": 2}
DASHED: Final[dict[str, Any]] = {
    "linestyle": "--", "linewidth": 1.4, "marker": "o", "markersize": 4.5, "markerfacecolor": "white"
}  # fmt: skip


def draw(runs: Sequence[Curves]) -> Figure:
    """Draw runs on one page."""
    figure = Figure(INCHES, DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    title = _cut(f"Training of {', '.join(run.name for run in runs)}")
    figure.suptitle(title, fontsize=15, fontweight="bold", color=INK, x=0.012, ha="left")
    axes = figure.subplot_mosaic([["loss"] * 3, ["levels", "rate", "norm"]], height_ratios=[1.35, 1])
    for axis in axes.values():
        _clean(axis)
    coloured = list(zip(runs, COLOURS, strict=False))
    if len(runs) > 1:
        names = [Line2D([], [], color=colour, linewidth=4, label=_cut(run.name, 40)) for run, colour in coloured]
        figure.legend(handles=names, frameon=False, fontsize=10, loc="outside lower center", ncols=min(4, len(names)))
    _draw_losses(axes["loss"], coloured)
    _draw_levels(axes["levels"], coloured)
    _draw_rate(axes["rate"], coloured)
    _draw_norm(axes["norm"], coloured)
    for name in ("loss", "rate", "norm"):
        axes[name].set_xlim(0, 1.01 * max(run.lines[-1]["step"] for run in runs))
    return figure


Coloured = Sequence[tuple[Curves, str]]


def _clean(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(colors=INK, labelsize=9, which="both")
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)


def _draw_losses(axis: Axes, runs: Coloured) -> None:
    seen = []
    for run, colour in runs:
        at, validation = run.of("validation")
        seen += [_draw_noisy(axis, *run.of("loss"), colour), validation]
        axis.plot(at, validation, color=colour, **DASHED)
    _scale(axis, np.concatenate(seen))
    _name(axis, "loss by step", "step", "loss")
    kinds = [Line2D([], [], color=INK, linewidth=0.8, alpha=0.4, label="training, each step")]
    kinds += [Line2D([], [], color=INK, linewidth=2, label="training, smoothed")]
    if any(len(run.of("validation")[0]) for run, _ in runs):
        kinds.append(Line2D([], [], color=INK, label="validation, averaged weights", **DASHED))
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 0.99), "borderaxespad": 0.1}
    axis.legend(handles=kinds, frameon=False, fontsize=9, ncols=len(kinds), **place)


def _draw_noisy(axis: Axes, steps: Array, values: Array, colour: str) -> Array:
    """Draw values faintly, and their smoothed curve, which is returned."""
    curve = smoothed(values)
    axis.plot(*thinned(steps, values), color=colour, alpha=0.18, linewidth=0.8)
    axis.plot(*thinned(steps, curve), color=colour, **SOLID)
    return curve


def _draw_levels(axis: Axes, runs: Coloured) -> None:
    _name(axis, "loss by noise level, last", "noise level σ, in eighths of the training levels", "loss")
    edges: list[float] = []
    for run, colour in runs:
        for field, style in (("by_level", SOLID), ("validation_by_level", DASHED)):
            values = [np.nan if value is None else value for value in run.last(field)]
            axis.plot(0.5 + np.arange(len(values)), values, color=colour, **style)
        edges = edges or [edge for edge in run.last("level_edges") if edge is not None]
    if edges:
        axis.set_xticks(range(1, 1 + len(edges)), [f"{edge:.2g}" for edge in edges])
        axis.set_xlim(0, 1 + len(edges))
        axis.set_ylim(bottom=0)
    else:
        axis.set(xticks=[], yticks=[])
        none = "none: the task has no noise levels,\nor none are logged yet"
        axis.text(0.5, 0.5, none, color=FAINT, ha="center", transform=axis.transAxes)


def _draw_rate(axis: Axes, runs: Coloured) -> None:
    for run, colour in runs:
        axis.plot(*thinned(*run.of("learning_rate")), color=colour, linewidth=2)
    axis.set_ylim(bottom=0)
    _name(axis, "learning rate", "step", "")
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))


def _draw_norm(axis: Axes, runs: Coloured) -> None:
    seen = [_draw_noisy(axis, *run.of("gradient_norm"), colour) for run, colour in runs]
    _scale(axis, np.concatenate(seen))
    _name(axis, "gradient norm, before clipping", "step", "")


def _name(axis: Axes, title: str, across: str, up: str) -> None:
    axis.set_title(title, fontsize=11, loc="left", color=INK)
    axis.set_xlabel(across, fontsize=9.5, color=INK)
    axis.set_ylabel(up, fontsize=9.5, color=INK)
    if across == "step":
        most = 8 if title.startswith("loss") else 4
        axis.xaxis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _scale(axis: Axes, values: Array) -> None:
    """Scale the y axis to smoothed values, which single steps may leave; logarithmic where they span much."""
    shown = values[np.isfinite(values) & (values > 0)]
    if not len(shown):
        return
    low, high = float(shown.min()), float(shown.max())
    if high < WIDE * low:
        room = 0.12 * (high - low) or 0.1 * high
        axis.set_ylim(max(0.0, low - room), high + room)
        return
    axis.set_yscale("log")
    axis.set_ylim(low / 1.3, high * 1.3)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _cut(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
