"""Rows on a terminal."""

import math
from typing import Any

import pytest
from rich.console import Console

from dcgan_exp.comparison import Row
from dcgan_exp.console import printable
from dcgan_exp.tables import cell, difference_table, heading, shown, table


def row(**values: Any) -> Row:
    return Row({"run": "a", **values}, [])


def text_of(*rows: Row, columns: list[str], width: int | None = None) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table(rows, columns, width)[0])
    return console.export_text()


def test_control_characters_are_shown_escaped() -> None:
    assert printable("a\x1b[31m\n\u202e\udcff é") == r"a\x1b[31m\n\u202e\udcff é"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("seconds", 75, "1 min 15 s"),
        ("x", 0.00012345, "0.0001234"),
        ("x", None, ""),
        ("x", math.nan, "NaN"),
        ("x", [1, 2], "[1, 2]"),
        ("x", True, "true"),
        ("x", "y" * 99, "y" * 59 + "…"),
        ("run", "y" * 99 + "z", "…" + "y" * 58 + "z"),
    ],
)
def test_values_are_short(key: str, value: Any, text: str) -> None:
    assert shown(key, value) == text


def test_a_best_metric_has_its_iteration_and_a_group_its_spread() -> None:
    assert cell(row(**{"best.g_loss": 0.5, "best.g_loss.at": 20}), "best.g_loss") == "0.5 @20"
    group = Row({"run": "a", "n": 3, "g_loss": 0.5}, [], spread={"g_loss": 0.1}, counts={"g_loss": 2})
    assert cell(group, "g_loss") == "0.5 ± 0.1 (n=2)"


def test_markup_in_a_name_is_text() -> None:
    assert "[bold]x[/bold]" in text_of(row(name="[bold]x[/bold]"), columns=["run", "name"])


def test_a_narrow_terminal_hides_columns_and_says_which() -> None:
    values = {"name": "y" * 30, "g_loss": 0.5, "d_loss": 0.5, "best.d_loss": 0.1, "status": "finished", "seed": 3}
    columns = ["run", *values]
    built, hidden = table([row(**values)], columns, 60)
    assert hidden == ["best.d_loss"]
    assert len(built.columns) == 6
    assert table([row(**values)], columns, None)[1] == []


def test_a_wide_column_makes_room_for_narrow_ones() -> None:
    rows = [row(name="y" * 30, seed=seed, batch_size=8, status="finished") for seed in range(3)]
    columns = ["run", "name", "optimizer.learning_rate", "seed", "batch_size", "status", "diagnosis"]
    rows = [
        row(**one.values, **{"optimizer.learning_rate": 1e-3, "diagnosis": "discriminator won @10"}) for one in rows
    ]
    assert table(rows, columns, 80)[1] == ["name"]


def test_long_headings_break_where_a_key_can() -> None:
    assert heading("seed") == "seed"
    assert heading("kernel_classifier_distance") == "kernel_\nclassifier_\ndistance"


def test_two_runs_side_by_side() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(difference_table(["a", "b\x1b"], [("config", "seed", 0, 1), ("data", "name", "mnist", None)]))
    text = console.export_text()
    assert r"b\x1b" in text
    assert "mnist" in text
    assert "—" in text
