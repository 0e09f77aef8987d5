"""Rows on a terminal. Names from run folders are shown escaped, never taken for markup or control sequences."""

import json
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from dcgan_exp.comparison import Row, is_present
from dcgan_exp.console import duration
from dcgan_exp.index import direction

STYLES = {"running": "cyan", "finished": "green", "failed": "bold red", "killed": "red", "interrupted": "yellow"}
LEAST_WIDTH = 60
MOST_CELL = 60  # characters
# What makes room first on a narrow terminal, by the start of its name; the run and what differs stay.
LEAST_IMPORTANT = ("best.d_", "seconds", "d_accuracy", "d_loss", "best.g_loss", "g_loss")


def printable(text: str) -> str:
    """Text with control, formatting and undecodable characters shown as escapes."""
    return "".join(
        character
        if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029"
        else ascii(character)[1:-1]
        for character in text
    )


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
    cells = {key: [cell(row, key) for row in rows] for key in columns}
    kept, hidden = _fitting(cells, width)
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for key in kept:
        numeric = any(isinstance(row.get(key), int | float) for row in rows)
        built.add_column(Text(heading(key)), justify="right" if numeric else "left", overflow="fold")
    best = {key: _best(rows, key) for key in kept}
    for number, row in enumerate(rows):
        built.add_row(*[Text(cells[key][number], style=_style(row, key, best[key])) for key in kept])
    return built, hidden


def _fitting(cells: dict[str, list[str]], width: int | None) -> tuple[list[str], list[str]]:
    kept, hidden = list(cells), []
    needed = {key: max(map(len, [*heading(key).split("\n"), *texts])) + 2 for key, texts in cells.items()}
    for start in LEAST_IMPORTANT if width is not None else ():
        for key in [key for key in kept if key.startswith(start)]:
            if sum(needed[key] for key in kept) <= max(width or 0, LEAST_WIDTH):
                break
            kept.remove(key)
            hidden.append(key)
    return kept, hidden


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
