"""Pictures of many runs: overlaid curves, metrics against what was swept, and grids at the same iterations."""

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dcgan_exp import comparison, images, runs
from dcgan_exp.comparison import Row, differing_keys, hashable, is_present, metric_names
from dcgan_exp.config import SIDE_KEYS
from dcgan_exp.images import rows_with
from dcgan_exp.index import direction
from dcgan_exp.tables import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

READABLE_RUNS = 12  # curves that an eye can tell apart
MATRIX_COLUMNS = 6
MOST_MATRICES = 20
RATE = ("rate", "decay", "epsilon", "slope", "stddev")  # ends of the keys that go on a logarithmic axis
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B",
    "#7F3C8D", "#11A579", "#3969AC", "#E73F74",
)  # fmt: skip
FAINT = "#b8bec8"
TITLES = {
    "d_loss": "Discriminator's loss",
    "g_loss": "Generator's loss",
    "d_accuracy": "Discriminator's accuracy (%)",
    "d_accuracy_real": "On real images (%)",
    "d_accuracy_fake": "On generated images (%)",
}


def write(rows: Sequence[Row], folder: Path) -> list[str]:
    """Draw everything into a folder. Returns a line for each file, and for each thing that could not be drawn."""
    singles = comparison.build([entry for row in rows for entry in row.entries])
    if not singles:
        return ["nothing to draw"]
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    curves = [_curves(row) for row in singles]
    qualities = [name for name in metric_names(singles) if name not in TITLES]
    pictures = {
        "losses": _overlay(singles, curves, ["g_loss", "d_loss"]),
        "accuracies": _overlay(singles, curves, ["d_accuracy", "d_accuracy_real", "d_accuracy_fake"]),
    }
    if qualities:
        pictures["quality"] = _overlay(singles, curves, qualities[:4])
    if keys := swept_keys(singles):
        metrics = [f"best.{name}" if direction(name) else name for name in qualities[:2]] or ["g_loss", "d_accuracy"]
        pictures["swept_keys"] = _against_keys(singles, keys, metrics)
    pictures |= _matrices(singles, said)
    for name, figure in pictures.items():
        path = folder / f"{name}.png"
        runs.write_whole(path, _png(figure))
        said.insert(0, f"wrote {path}")
    return said


def swept_keys(rows: Sequence[Row]) -> list[str]:
    """The keys that differ and are worth an axis: not labels, and not one value a run of text."""
    return [key for key in differing_keys(rows) if key not in SIDE_KEYS]


def difference_labels(rows: Sequence[Row]) -> list[str]:
    """What names each run in a legend: the values that differ, or its folder where nothing does."""
    keys = [key for key in differing_keys(rows) if key not in SIDE_KEYS or key == "name"]
    short = {key: key.rpartition(".")[2] for key in keys}
    short = {
        key: key if list(short.values()).count(name) > 1 or name == "name" else name for key, name in short.items()
    }
    labels = [
        " ".join(_pair(short[key], key, row.get(key)) for key in keys if row.get(key) is not None) for row in rows
    ]
    return [label if label and labels.count(label) == 1 else f"{row.label} {label}".strip()
            for label, row in zip(labels, rows, strict=True)]  # fmt: skip


def _pair(short: str, key: str, value: Any) -> str:
    return shown(key, value) if key == "name" else f"{short}={shown(key, value)}"


def _curves(row: Row) -> dict[str, list[float | None]]:
    try:
        return row.entries[0].run.metrics()
    except (OSError, ValueError):
        return {}


def _numbers(column: Sequence[float | None]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    values = np.array([math.nan if value is None else value for value in column], np.float64)
    return np.where(np.isfinite(values), np.clip(values, -1e30, 1e30), np.nan)


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout=layout)
    FigureCanvasAgg(figure)  # no window, whatever MPLBACKEND says
    return figure


def _png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may hold letters that the font lacks
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _text(text: str, most: int = 70) -> str:
    """Text that Matplotlib takes for no formula."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")


# Curves ------------------------------------------------------------------------------------------


def _overlay(rows: Sequence[Row], curves: Sequence[Any], metrics: Sequence[str]) -> "Figure":
    """A panel for each metric with all runs in it; beyond 12 runs only the best, median and worst stand out."""
    figure = _figure(9, 1.2 + 2.6 * len(metrics) + 0.2 * min(len(rows), READABLE_RUNS))
    panels = figure.subplots(len(metrics), sharex=True, squeeze=False)[:, 0]
    named = _named(rows)
    for axes, metric in zip(panels, metrics, strict=True):
        for number, columns in enumerate(curves):
            name, color = named.get(number, (None, FAINT))
            is_score = metric in runs.SCORES and metric in columns
            own = rows_with(columns, metric) if is_score else columns
            values, iterations = _numbers(own.get(metric, ())), _numbers(own.get("iteration", ()))
            if len(values) == len(iterations):
                marker = "o" if len(values) <= 20 and name else "None"
                style = {
                    "linewidth": 1.6 if name else 0.7,
                    "zorder": 3 if name else 1,
                    "marker": marker,
                    "markersize": 3,
                }
                axes.plot(iterations, values, color=color, label=name and _text(name), **style)
        _dress(axes, TITLES.get(metric, metric.replace("_", " ")))
        _scale(axes, metric)
    panels[-1].set_xlabel("iteration")
    handles, labels = panels[0].get_legend_handles_labels()
    title = f"{len(rows)} runs: the named ones stand out" if len(rows) > READABLE_RUNS else None
    if handles:
        figure.legend(
            handles, labels, loc="outside lower left", fontsize=8, frameon=False, title=title, alignment="left"
        )
    return figure


def _named(rows: Sequence[Row]) -> dict[int, tuple[str, str]]:
    """Which runs stand out, by number: their name and colour."""
    labels = difference_labels(rows)
    if len(rows) <= READABLE_RUNS:
        return {number: (label, COLORS[number]) for number, label in enumerate(labels)}
    ranking, key = rank_key(rows)
    if not ranking:
        return {number: (labels[number], COLORS[number]) for number in range(READABLE_RUNS)}
    places = {"best": ranking[0], "median": ranking[len(ranking) // 2], "worst": ranking[-1]}
    if "loss" in key:  # a lower loss is no better GAN
        places = dict(zip(("lowest", "median", "highest"), places.values(), strict=True))
    found = zip(places.items(), ("#009E73", "#0072B2", "#D55E00"), strict=True)
    return {number: (f"{place} {key}: {labels[number]}", color) for (place, number), color in found}


def rank_key(rows: Sequence[Row]) -> tuple[list[int], str]:
    """The runs' numbers by the first quality metric, better first; by the generator's last loss where there is none.

    Empty where the runs can't be ranked: without quality metrics, with different loss functions.
    """
    key = next((f"best.{name}" for name in metric_names(rows) if name not in TITLES and direction(name)), "g_loss")
    kinds = {str(row.get("loss.name")) for row in rows}
    if key == "g_loss" and len(kinds) > 1:
        return [], key
    sign = direction(key)
    present = [number for number, row in enumerate(rows) if is_present(row.get(key))]
    return sorted(present, key=lambda number: -sign * rows[number].get(key)), key


def _dress(axes: "Axes", title: str) -> None:
    axes.set_title(_text(title), loc="left", fontsize=10)
    axes.grid(color="#e3e6ea", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)


def _scale(axes: "Axes", metric: str) -> None:
    if "accuracy" in metric:
        axes.set_ylim(-3, 103)
        axes.axhline(50, color="#888888", linewidth=0.8, linestyle=":")
        return
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines] or [np.zeros(0)])
    sizes = np.abs(values[np.isfinite(values)])
    if sizes.any() and sizes.max() > 50 * np.median(sizes) > 0:
        axes.set_yscale(
            "log" if np.nanmin(values) > 0 else "symlog", **({} if np.nanmin(values) > 0 else {"linthresh": 1})
        )


# Against what was swept --------------------------------------------------------------------------


def _against_keys(rows: Sequence[Row], keys: Sequence[str], metrics: Sequence[str]) -> "Figure":
    """A panel for each metric and key; the losses of different loss functions have different colours."""
    keys = keys[:8]
    figure = _figure(3.4 * len(keys) + 0.8, 2.9 * len(metrics) + 0.5)
    panels = figure.subplots(len(metrics), len(keys), squeeze=False)
    for line, metric in zip(panels, metrics, strict=True):
        for axes, key in zip(line, keys, strict=True):
            _scatter(axes, rows, key, metric)
            _dress(axes, metric.replace("_", " ") if axes is line[0] else "")
    if len({str(row.get("loss.name")) for row in rows}) > 1:
        panels[0, 0].legend(fontsize=7, title="loss (never ranked together)", title_fontsize=7)
    return figure


def _scatter(axes: "Axes", rows: Sequence[Row], key: str, metric: str) -> None:
    places = _places(axes, key, [row.get(key) for row in rows])
    heights = _numbers([row.get(metric) for row in rows])
    kinds = np.array([str(row.get("loss.name")) for row in rows])
    for kind, color in zip(dict.fromkeys(kinds), COLORS, strict=False):
        chosen = kinds == kind
        axes.scatter(places[chosen], heights[chosen], s=24, color=color, alpha=0.75, linewidths=0, label=_text(kind))
    lost = places[np.isnan(heights)]
    if len(lost):  # failure marks, where the metric has no finite value
        axes.plot(lost, [0.03] * len(lost), "x", color="#c0392b", transform=axes.get_xaxis_transform())
    axes.set_xlabel(_text(key), fontsize=9)


def _places(axes: "Axes", key: str, values: Sequence[Any]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Where each value lies on the horizontal axis, which is logarithmic where the key is a rate."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        if key.endswith(RATE) and min(values) > 0:
            axes.set_xscale("log")
        return np.array(values, np.float64)
    order = list(dict.fromkeys(hashable(value) for value in values))
    axes.set_xticks(range(len(order)), [_text(str(value), 16) for value in order], rotation=20, ha="right")
    axes.set_xlim(-0.5, len(order) - 0.5)
    return np.array([order.index(hashable(value)) for value in values], np.float64)


# Sample matrix -----------------------------------------------------------------------------------


def _matrices(rows: Sequence[Row], said: list[str]) -> dict[str, "Figure"]:
    """Rows are runs, columns are iterations; a cell is a run's grid, whose latents are the same in every cell."""
    grids = [row.entries[0].run.samples() for row in rows]
    steps = sorted({iteration for found in grids for iteration in found})
    if not steps:
        return {}
    picks = np.unique(np.linspace(min(1, len(steps) - 1), len(steps) - 1, MATRIX_COLUMNS).round().astype(int))
    chosen = [steps[pick] for pick in picks]
    labels = difference_labels(rows)
    figures = {}
    for start in range(0, min(len(rows), MOST_MATRICES * READABLE_RUNS), READABLE_RUNS):
        part = slice(start, start + READABLE_RUNS)
        name = "sample_matrix" if not start else f"sample_matrix_{start // READABLE_RUNS + 1}"
        figures[name] = _matrix(labels[part], grids[part], chosen, said)
    if len(rows) > MOST_MATRICES * READABLE_RUNS:
        said.append(f"the sample matrices show the first {MOST_MATRICES * READABLE_RUNS} of {len(rows)} runs")
    return figures


def _matrix(
    labels: Sequence[str], grids: Sequence[dict[int, Path]], chosen: Sequence[int], said: list[str]
) -> "Figure":
    width, height = 1.6 * len(chosen) + 0.2, 2.15 * len(labels)
    figure = _figure(width, height, layout=None)
    figure.subplots_adjust(
        left=0.1 / width, right=1 - 0.1 / width, bottom=0.1 / height, top=1 - 0.5 / height, hspace=0.36, wspace=0.06
    )
    cells = figure.subplots(len(labels), len(chosen), squeeze=False)
    for line, label, found in zip(cells, labels, grids, strict=True):
        for axes, iteration in zip(line, chosen, strict=True):
            axes.axis("off")
            nearest = max((step for step in found if step <= iteration), default=None)
            if nearest is None:
                continue
            axes.set_title(f"{nearest:,}", fontsize=8, color="black" if nearest == iteration else "#c0392b")
            try:
                axes.imshow(
                    images.grid(images.read_grid(found[nearest])),
                    cmap="gray",
                    vmin=0,
                    vmax=255,
                    interpolation="nearest",
                )
            except ValueError as error:
                said.append(f"left out: {error}")
        line[0].text(0, 1.2, _text(label, 100), transform=line[0].transAxes, fontsize=9, fontweight="bold")
    return figure
