"""What went wrong, and since when."""

import math
from pathlib import Path

import numpy as np
import pytest
from run_folders import samples

from dcgan_exp import diagnosis, images


def columns(**values: list[float | None]) -> dict[str, list[float | None]]:
    length = len(next(iter(values.values())))
    return {"iteration": [10.0 * (row + 1) for row in range(length)], **values}


def grids(folder: Path, spreads: list[float]) -> dict[int, Path]:
    found = {}
    for number, spread in enumerate(spreads):
        found[10 * number] = folder / f"{number}.png"
        found[10 * number].write_bytes(images.grid_png(samples(0, spread=spread)))
    return found


def test_the_discriminator_won_from_the_last_stretch_on() -> None:
    accuracy = [99.5, 99.5, 80, 99, 100, 100]
    assert diagnosis.of_metrics({}, columns(d_accuracy=accuracy)) == {diagnosis.WON: 40}


@pytest.mark.parametrize("accuracy", [[100, 100], [100, 100, 100, 98], [100, None, 100], []])
def test_a_short_or_ended_stretch_is_no_win(accuracy: list[float | None]) -> None:
    assert diagnosis.of_metrics({}, columns(d_accuracy=accuracy)) == {}


def test_stalled_needs_both_losses() -> None:
    flat, moving = [3.0, 1.0, 1.0, 1.0002], [1.0, 2.0, 1.0, 2.0]
    assert diagnosis.of_metrics({}, columns(d_loss=flat, g_loss=flat)) == {diagnosis.STALLED: 20}
    assert diagnosis.of_metrics({}, columns(d_loss=flat, g_loss=moving)) == {}


def test_not_finite_from_a_row_or_from_the_record() -> None:
    assert diagnosis.of_metrics({}, columns(g_loss=[1, math.nan, 2])) == {diagnosis.NOT_FINITE: 20}
    record = {"status": "failed", "reason": "the losses or weights were not finite at iteration 7", "iteration": 7}
    assert diagnosis.of_metrics(record, {}) == {diagnosis.NOT_FINITE: 7}
    assert diagnosis.of_metrics({"status": "failed", "reason": "disk full", "iteration": 7}, {}) == {}


def test_collapsed_from_the_first_grid_of_the_last_stretch(tmp_path: Path) -> None:
    assert diagnosis.of_grids(grids(tmp_path, [0, 1, 0, 1, 0, 0])) == {diagnosis.COLLAPSED: 40}
    assert diagnosis.of_grids(grids(tmp_path, [0, 0, 1])) == {}
    assert diagnosis.of_grids(grids(tmp_path, [0])) == {}
    assert diagnosis.of_grids({}) == {}


def test_unreadable_grids_are_passed_over(tmp_path: Path) -> None:
    found = grids(tmp_path, [1, 1, 0, 0])
    found[30].write_bytes(b"no picture")
    assert diagnosis.of_grids(found) == {diagnosis.COLLAPSED: 20}


def test_diversity_is_0_for_alike_and_1_for_black_and_white() -> None:
    assert diagnosis.diversity(np.full((4, 2, 2, 1), 7, np.uint8)) == 0
    black_white = np.stack([np.zeros((2, 2, 1), np.uint8), np.full((2, 2, 1), 255, np.uint8)])
    assert diagnosis.diversity(black_white) == pytest.approx(1)


def test_every_diagnosis_is_defined_in_one_line() -> None:
    assert all("\n" not in meaning and meaning.endswith(".") for meaning in diagnosis.DEFINITIONS.values())


def test_the_definitions_stand_in_the_docs() -> None:
    text = " ".join((Path(__file__).parent.parent / "docs" / "compare.md").read_text().split())
    assert all(f"**{name}**: {meaning}" in text for name, meaning in diagnosis.DEFINITIONS.items())
