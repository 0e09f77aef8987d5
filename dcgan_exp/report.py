"""The comparison as one page that needs no network: table, curves and grids of many runs, linked with each other.

All text from run folders travels as JSON or through Jinja2's autoescape, so that nothing in a name is ever markup.
"""

import base64
import csv
import functools
import gzip
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

import dcgan_exp
from dcgan_exp import comparison, diagnosis, fairness, images, plots, runs
from dcgan_exp.comparison import Row
from dcgan_exp.console import printable
from dcgan_exp.index import direction
from dcgan_exp.tables import shown

BUDGET_BYTES = 12_000_000  # of the page; beyond it the grids become files in a folder beside it
HOPELESS = 4  # times the budget: fewer levels can't help
LEVELS = (256, 32, 16)  # of brightness, tried in this order until the page is within its budget
MOST_RUNS = 1000  # a browser is slow with more
TEMPLATE = "report.html.j2"


@dataclass
class Pictures:
    """The grids of all runs, each once, however many runs and iterations show the same."""

    pixels: list[images.Pixels] = field(default_factory=list)
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _exact: list[bytes] = field(default_factory=list)

    def add(self, picture: images.Pixels) -> int:
        """The number of a picture, (H, W) or (H, W, 3)."""
        digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self.pixels)
            self.pixels.append(picture)
        return self._numbers[digest]

    def encoded(self, levels: int) -> list[bytes]:
        """All as WebP; the exact ones are kept, since they may be wanted twice."""
        if levels < 256:
            return [webp(picture, levels) for picture in self.pixels]
        self._exact += [webp(picture) for picture in self.pixels[len(self._exact) :]]
        return self._exact


def webp(picture: images.Pixels, levels: int = 256) -> bytes:
    """A uint8 picture, (H, W) or (H, W, 3), as lossless WebP with so many levels a channel."""
    if levels < 256:
        picture = np.rint(np.rint(picture / 255 * (levels - 1)) * (255 / (levels - 1))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=60, method=4)
    return file.getvalue()


@dataclass
class Page:
    """What a page says, before its pictures have a place."""

    rows: Sequence[Row]
    warnings: Sequence[str]
    left_out: list[str]
    pictures: Pictures = field(default_factory=Pictures)

    def __post_init__(self) -> None:
        self.data = page_data(self.rows, self.pictures, self.left_out)

    def inline(self, levels: int) -> bytes:
        """The page with its pictures inside."""
        encoded = (base64.b64encode(content).decode() for content in self.pictures.encoded(levels))
        how = "exact" if levels == 256 else f"with {levels} levels of brightness a channel"
        sources = ["data:image/webp;base64," + text for text in encoded]
        return self.render(sources, f"The grids are inside this file, {how}." if sources else "There are no grids.")

    def beside(self, folder: Path) -> bytes:
        """The page with its pictures, exact, in a folder beside it."""
        folder.mkdir(exist_ok=True)
        names = []
        for content in self.pictures.encoded(256):
            names.append(hashlib.sha256(content).hexdigest()[:24] + ".webp")
            if not (folder / names[-1]).exists():
                runs.write_whole(folder / names[-1], content)
        sources = [f"{quote(folder.name)}/{name}" for name in names]
        return self.render(
            sources, f"The grids lie, exact, in the folder {folder.name}, which belongs beside this file."
        )

    def render(self, sources: list[str], grids_note: str) -> bytes:
        """The HTML."""
        made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
        text = _template().render(
            title=f"{len(self.rows)} run{'s' * (len(self.rows) != 1)} compared",
            summary=_summary(self.rows),
            warnings=[printable(line) for line in self.warnings],
            left_out=[printable(line) for line in self.left_out],
            definitions=diagnosis.DEFINITIONS,
            footer=f"Made by dcgan-exp {dcgan_exp.__version__} on {made}. {grids_note}",
            data=Markup(script_json({**self.data, "pictures": sources})),  # noqa: S704  escaped there
            plotly=_plotly(),
        )
        return str(text).encode(errors="backslashreplace")


def write(rows: Sequence[Row], path: Path, notes: Sequence[str], budget_bytes: int = BUDGET_BYTES) -> list[str]:
    """Write the page. `notes` are the lines that were said so far. Returns lines for a person to know."""
    singles = comparison.build([entry for row in rows for entry in row.entries])
    said = []
    if len(singles) > MOST_RUNS:
        said.append(f"the page holds the first {MOST_RUNS} of {len(singles)} runs; --where and --top choose others")
        singles = singles[:MOST_RUNS]
    comparison.diagnose_grids(singles)
    warnings = fairness.warnings(singles)
    page = Page(singles, warnings, [note for note in notes if note not in fairness.warnings(rows)])
    said += [line for line in page.left_out if line not in notes]
    for levels in LEVELS:
        content = page.inline(levels)
        if len(content) <= budget_bytes or len(content) > HOPELESS * budget_bytes:
            break
    if len(content) > budget_bytes:
        folder = path.with_name(path.stem + "_files")
        content = page.beside(folder)
        said.append(f"with its grids the page would be larger than {budget_bytes / 1e6:g} MB: they lie in {folder}")
    runs.write_whole(path, content)
    return [f"wrote {path} ({len(content) / 1e6:.1f} MB)", *said]


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(TEMPLATE)


@functools.cache
def _plotly() -> str:
    """Plotly's JavaScript out of its wheel, compressed: a third of its 4.8 MB. Base64, so nothing to escape."""
    from plotly.offline import get_plotlyjs  # its import takes half a second

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def script_json(content: Any) -> str:
    """Strict JSON that can stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _summary(rows: Sequence[Row]) -> str:
    statuses = Counter(str(row.get("status")) for row in rows)
    keys = comparison.differing_keys(rows)
    told = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    if not keys:
        return f"{told}. Their configurations are the same."
    names = ", ".join(keys[:6]) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
    return printable(f"{told}. What differs: {names}.")


# Data --------------------------------------------------------------------------------------------


def page_data(rows: Sequence[Row], pictures: Pictures, left_out: list[str]) -> dict[str, Any]:
    """Everything that the page's script shows. Adds to `pictures`, and to `left_out` what can't be read."""
    differing = comparison.differing_keys(rows)
    labels = plots.difference_labels(rows)
    metrics = comparison.metric_names(rows)
    described = [_run_data(row, label, differing, pictures, left_out) for row, label in zip(rows, labels, strict=True)]
    first = rows[0].entries[0].config if rows else {}
    groups = comparison.seed_groups(rows)
    grouped_metrics = [key for name in metrics for key in ((f"best.{name}", name) if direction(name) else (name,))]
    quality = [name for name in metrics if name not in comparison.TRAINING_METRICS]
    chosen = [*quality[:1], *(name for name in ("g_loss", "d_accuracy", "d_loss") if name in metrics), *metrics, ""]
    heights = [picture.shape[:2] for picture in pictures.pixels] or [(118, 118)]
    return {
        "runs": described,
        "columns": _columns(rows, differing, metrics),
        "differing": [printable(key) for key in differing],
        "swept": [printable(key) for key in plots.swept_keys(rows)],
        "common": {printable(key): _value(value) for key, value in first.items() if key not in set(differing)},
        "metrics": [printable(name) for name in metrics],
        "scores": runs.SCORES,
        "first_metrics": [printable(name) for name in chosen[:2]] if len(chosen) > 2 else [chosen[0]] * 2,
        "groups": [_group_data(group, groups, grouped_metrics) for group in groups],
        "image_height": max(height for height, _ in heights),
        "image_width": max(width for _, width in heights),
    }


def _run_data(
    row: Row, label: str, differing: Sequence[str], pictures: Pictures, left_out: list[str]
) -> dict[str, Any]:
    entry = row.entries[0]
    return {
        "label": printable(row.label),
        "run": printable(row.label),
        "name": printable(label),
        "loss": printable(str(row.get("loss.name"))),
        "status": row.get("status"),
        "reason": _value(row.get("reason")),
        "iteration": row.get("iteration"),
        "seconds": _value(row.get("seconds")),
        "config": {printable(key): _value(row.get(key)) for key in differing},
        "final": {printable(name): _value(value) for name, value in entry.final.items()},
        "best": {printable(name): [_value(value), iteration] for name, (value, iteration) in entry.best.items()},
        "diagnosis_onsets": entry.diagnosis,
        "diagnosis": min(entry.diagnosis.values(), default=None),
        "curves": _curves(row, left_out),
        "grids": _grids(row, pictures, left_out),
    }


def _curves(row: Row, left_out: list[str]) -> dict[str, list[Any]]:
    """Every row of metrics.csv: the page smooths over all of them."""
    try:
        columns = row.entries[0].run.metrics()
    except (OSError, ValueError, csv.Error) as error:
        left_out.append(f"{row.label}: its curves can't be read: {error}")
        return {}
    return {printable(name): [_number(value) for value in column] for name, column in columns.items()}


def _grids(row: Row, pictures: Pictures, left_out: list[str]) -> list[tuple[int, int]]:
    """(iteration, number of the picture) pairs."""
    found = []
    for iteration, path in row.entries[0].run.samples().items():
        try:
            found.append((iteration, pictures.add(images.grid(images.read_grid(path)))))
        except ValueError as error:
            left_out.append(f"left out: {error}")
    return found


def _number(value: float | None) -> float | int | None:
    """Six digits, which is what a curve shows; null where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _value(value: Any) -> Any:
    """A value as strict JSON; text is made visible, numbers that are not finite become `nan`, `inf`, `-inf`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return _number(value) if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {printable(str(key)): _value(item) for key, item in value.items()}
    return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)


def _columns(rows: Sequence[Row], differing: Sequence[str], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The table's columns from left to right, with where the best of all runs is."""

    def column(key: str, kind: str, **facts: Any) -> dict[str, Any]:
        numeric = any(isinstance(row.get(key), int | float) for row in rows)
        return {
            "key": printable(key),
            "kind": kind,
            "label": printable(key),
            "numeric": numeric,
            "direction": 0,
            **facts,
        }

    found = [column("run", "fact"), column("status", "fact"), *(column(key, "config") for key in differing)]
    found += [column("diagnosis", "fact", numeric=False)]
    for name in metrics:
        if name in ("d_accuracy_real", "d_accuracy_fake"):
            continue
        facts = {"metric": printable(name), "direction": direction(name), "winner": _winner(rows, name)}
        if direction(name):
            found.append(column(f"best.{name}", "best", **facts, numeric=True) | {"label": printable(f"best {name}")})
        found.append(column(name, "final", **facts | {"winner": None}, numeric=True))
    return [*found, column("iteration", "fact"), column("seconds", "fact", label="time")]


def _winner(rows: Sequence[Row], metric: str) -> Any:
    """The best value of a quality metric; losses do not rank GANs, so theirs has none."""
    values = [row.get(f"best.{metric}") for row in rows if row.get(f"best.{metric}") is not None]
    if metric in comparison.LOSSES or not direction(metric) or len(values) < 2:
        return None
    return _value(max(values, key=lambda value: direction(metric) * value))


def _group_data(group: Row, groups: Sequence[Row], metrics: Sequence[str]) -> dict[str, Any]:
    """What the members of a group share, and the mean, the spread and the number of values of each metric."""
    found = {
        printable(name): [_value(group.get(name)), _value(group.spread.get(name)), group.counts[name]]
        for name in metrics
        if group.counts.get(name)
    }
    keys = [key for key in plots.swept_keys(groups) if key != "seed"]
    shared = " ".join(f"{key.rpartition('.')[2]}={shown(key, group.get(key)) or 'null'}" for key in keys)
    members = fairness.name_some([entry.folder.name for entry in group.entries])
    return {"label": printable(shared or members), "members": printable(members), "n": group.get("n"), "metrics": found}
