"""Rows on a terminal. Names from run folders are shown escaped, never taken for markup or control sequences."""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from dcgan_exp.comparison import Row, is_present
from dcgan_exp.config import SIDE_KEYS
from dcgan_exp.console import duration, printable
from dcgan_exp.index import direction

STYLES = {"running": "cyan", "finished": "green", "failed": "bold red", "killed": "red", "interrupted": "yellow"}
LEAST_WIDTH = 60
CELL_MARGIN = 3  # characters between two columns
MOST_CELL = 60  # characters
# What makes room first on a narrow terminal, by the start of its name.
LEAST_IMPORTANT = ("best.d_", "seconds", "d_accuracy", "d_loss", "best.g_loss", "g_loss")


def shown(key: str, value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if key == "seconds" and isinstance(value, int | float) and math.isfinite(value):
        return duration(value)
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    text = printable(text)
    if len(text) <= MOST_CELL or key == "diagnosis":
        return text
    return "…" + text[1 - MOST_CELL :] if key in ("run", "folder") else text[: MOST_CELL - 1] + "…"


def cell(row: Row, key: str) -> str:
    """A row's value: a best metric with its iteration, a group's with its spread."""
    text = shown(key, row.get(key))
    if key in row.spread and text:
        text += f" ± {shown(key, row.spread[key])}"
        if row.counts[key] < row.get("n"):
            text += f" (n={row.counts[key]})"
    elif row.get(f"{key}.at") is not None and text:
        text += f" @{shown(key, row.get(f'{key}.at'))}"
    return text


def heading(key: str) -> str:
    """A column's key, broken where it is long."""
    return key if len(key) <= 14 else key.replace("_", "_\n").replace(".", ".\n")


def table(rows: Sequence[Row], columns: Sequence[str], width: int | None = None) -> tuple[Table, list[str]]:
    """The table, and the columns that had to be left out of a terminal of `width` characters."""
    cells = {key: [_fold(cell(row, key), key, width) for row in rows] for key in columns}
    kept, hidden = _fitting(cells, width)
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for key in kept:
        numeric = any(isinstance(row.get(key), int | float) for row in rows)
        built.add_column(Text(heading(key)), justify="right" if numeric else "left", overflow="fold")
    best = {key: _best(rows, key) for key in kept}
    for number, row in enumerate(rows):
        built.add_row(*[Text(cells[key][number], style=_style(row, key, best[key])) for key in kept])
    return built, hidden


def _fold(text: str, key: str, width: int | None) -> str:
    """Long cells in less room: one diagnosis a line, the end of a path, the beginning of anything else."""
    if width is None:
        return text
    if key == "diagnosis":
        names = text.split(", ")
        return "\n".join(names if width >= 120 else [name.replace(" ", "\n", 1) for name in names])
    most = max(width // 5, 16)
    if len(text) <= most:
        return text
    return "…" + text[1 - most :] if key == "run" else text[: most - 1] + "…"


def _fitting(cells: dict[str, list[str]], width: int | None) -> tuple[list[str], list[str]]:
    """The columns that there is room for, and the others."""
    needed = {
        key: max(len(line) for text in (heading(key), *texts) for line in text.split("\n")) + CELL_MARGIN
        for key, texts in cells.items()
    }
    room = math.inf if width is None else max(width, LEAST_WIDTH) + CELL_MARGIN
    hidden: list[str] = []
    for key in _dispensable(cells):
        if sum(needed.values()) - sum(needed[key] for key in hidden) > room:
            hidden.append(key)
    for key in hidden[::-1]:  # a narrow column may still fit where a wide one had to go
        others = [other for other in hidden if other != key]
        if sum(needed.values()) - sum(needed[other] for other in others) <= room:
            hidden = others
    return [key for key in cells if key not in hidden], hidden


def _dispensable(cells: dict[str, list[str]]) -> list[str]:
    """The columns that can be hidden, in the order in which they are: what takes the most different values last."""
    bests = [key for key in cells if key.startswith("best.")]
    found = [key for key in cells if key in SIDE_KEYS and key != "name"]
    found += [key for start in LEAST_IMPORTANT for key in cells if key.startswith(start)]
    found += [key for key in cells if f"best.{key}" in cells] + ["iteration", *reversed(bests[1:])]
    varied = [key for key in cells if key not in ("run", "status", "diagnosis", *bests)]
    found += sorted(varied, key=lambda key: len(set(cells[key])))
    return [key for key in dict.fromkeys(found) if key in cells]


def _best(rows: Sequence[Row], key: str) -> Any:
    """The best value of a quality metric's column; losses do not rank GANs, so the lowest one is no winner."""
    sign = direction(key) if "." not in key.removeprefix("best.") and "loss" not in key else 0
    values = [row.get(key) for row in rows if isinstance(row.get(key), float) and is_present(row.get(key))]
    return max(values, key=lambda value: sign * value) if sign and len(values) > 1 else None


def _style(row: Row, key: str, best: Any) -> str:
    value = row.get(key)
    if key == "status":
        return STYLES.get(str(value), "")
    if key == "diagnosis" or (isinstance(value, float) and not math.isfinite(value)):
        return "yellow" if key == "diagnosis" else "bold red"
    return "bold green" if best is not None and value == best else ""


def difference_table(labels: Sequence[str], differences: Sequence[tuple[str, str, Any, Any]]) -> Table:
    """Two runs side by side: (section, key, value of the first, of the second) lines."""
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for title in ("", "", *labels):
        built.add_column(Text(printable(title)), overflow="fold")
    last = ""
    for section, key, *values in differences:
        if last and section != last:
            built.add_section()
        texts = ["—" if value is None else shown(key, value) for value in values]
        built.add_row(Text("" if section == last else section, style="dim"), Text(printable(key)), *map(Text, texts))
        last = section
    return built
