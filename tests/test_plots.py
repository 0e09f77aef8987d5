"""Pictures of many runs."""

import math
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from run_folders import default_row, make_run

from dcgan_exp import comparison, index, plots


def rows_of(*folders: Path) -> list[comparison.Row]:
    return comparison.build([index.read_entry(folder) for folder in folders])


def test_every_picture_is_written_and_opens(tmp_path: Path) -> None:
    folders = [
        make_run(tmp_path / f"run-$a_{{{seed}$", rows=4, seed=seed, optimizer__learning_rate=10.0 ** -(seed + 2))
        for seed in range(3)
    ]
    nan = make_run(
        tmp_path / "nan",
        rows=4,
        grid=None,
        loss__name="hinge",
        row=lambda i: {**default_row(i), "g_loss": math.nan, "d_loss": 1e38},
    )
    said = plots.write(rows_of(*folders, nan), tmp_path / "plots")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"losses.png", "accuracies.png", "swept_keys.png", "sample_matrix.png"}
    assert len(said) == 4
    for name in names:
        with Image.open(tmp_path / "plots" / name) as picture:
            assert picture.width > 300


def test_a_damaged_grid_is_left_out_and_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=2)
    damaged = rows_of(folder)[0].entries[0].run.samples()[20]
    damaged.write_bytes(damaged.read_bytes()[:100])
    said = plots.write(rows_of(folder), tmp_path / "plots")
    assert [line for line in said if line.startswith("left out") and damaged.name in line]


def test_no_rows_draw_nothing(tmp_path: Path) -> None:
    assert plots.write([], tmp_path / "plots") == ["nothing to draw"]


def test_a_legend_is_what_differs(tmp_path: Path) -> None:
    rows = rows_of(
        *(
            make_run(tmp_path / str(seed), rows=1, grid=None, seed=seed, optimizer__learning_rate=1e-3 + seed)
            for seed in range(2)
        )
    )
    assert plots.difference_labels(rows) == ["seed=0 learning_rate=0.001", "seed=1 learning_rate=1.001"]
    assert plots.difference_labels(rows[:1]) == ["0"]


def test_beyond_a_dozen_runs_three_stand_out(tmp_path: Path) -> None:
    def quality(iteration: int, value: int) -> dict[str, float]:
        return {**default_row(iteration), "kernel_classifier_distance": value}

    made = [partial(quality, value=seed) for seed in range(13)]
    rows = rows_of(
        *(make_run(tmp_path / str(seed), rows=1, grid=None, seed=seed, row=made[seed]) for seed in range(13))
    )
    named = plots._named(rows)
    assert sorted(named) == [0, 6, 12]
    assert named[0][0].startswith("best best.kernel_classifier_distance: ")


def test_losses_of_two_kinds_have_no_best(tmp_path: Path) -> None:
    rows = rows_of(
        make_run(tmp_path / "a", rows=1, grid=None), make_run(tmp_path / "b", rows=1, grid=None, loss__name="hinge")
    )
    assert plots.rank_key(rows) == ([], "g_loss")
    assert plots.rank_key(rows[:1])[0] == [0]


@pytest.mark.parametrize(
    ("values", "places"), [([1, 10], [1, 10]), (["a", "b", "a"], [0, 1, 0]), ([[1], [2], None], [0, 1, 2])]
)
def test_numbers_lie_where_they_are_and_text_side_by_side(values: list, places: list) -> None:
    axes = plots._figure(2, 2).subplots()
    assert plots._places(axes, "optimizer.learning_rate", values).tolist() == places
    assert axes.get_xscale() == ("log" if values == [1, 10] else "linear")
