"""Rows: what differs, ranking, groups, two runs side by side."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import default_row, make_run, samples

from dcgan_exp import comparison, index


def rows_of(*folders: Path) -> list[comparison.Row]:
    return comparison.build([index.read_entry(folder) for folder in folders])


def quality(value: float) -> Callable[[int], dict[str, float]]:
    return lambda iteration: {
        **default_row(iteration),
        "kernel_classifier_distance": value + 1 / iteration,
        "d_loss": value,
    }


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> list[comparison.Row]:
    """Two learning rates with two seeds each, and a run that failed."""
    root = tmp_path_factory.mktemp("sweep")
    folders = [
        make_run(
            root / f"{number}",
            rows=3,
            grid=None,
            seed=number % 2,
            optimizer__learning_rate=rate,
            row=quality(0.1 * number),
        )
        for number, rate in enumerate((1e-4, 1e-4, 1e-3, 1e-3))
    ]
    folders.append(
        make_run(
            root / "4",
            rows=3,
            grid=None,
            status="failed",
            batch_size=4,
            row=lambda i: {**default_row(i), "g_loss": math.nan},
        )
    )
    return rows_of(*folders)


def labels(rows: list[comparison.Row]) -> list[str]:
    return [row.label for row in rows]


def test_only_what_differs_is_a_column(sweep: list[comparison.Row]) -> None:
    assert comparison.differing_keys(sweep) == ["batch_size", "seed", "optimizer.learning_rate"]
    assert comparison.differing_keys(sweep[:1]) == []
    assert set(comparison.default_columns(sweep, all_keys=True)) > {"latent_dim", "loss.name"}


def test_a_key_that_one_run_lacks_differs_unless_it_is_null(sweep: list[comparison.Row]) -> None:
    first, second = index.read_entry(sweep[0].entries[0].folder), index.read_entry(sweep[0].entries[0].folder)
    second.config |= {"new": 1, "unset": None}
    del first.config["latent_dim"]
    assert comparison.differing_keys(comparison.build([first, second])) == ["latent_dim", "new"]


def test_final_and_best_metrics_with_their_iteration(sweep: list[comparison.Row]) -> None:
    row = sweep[1]
    assert row.get("kernel_classifier_distance") == pytest.approx(0.1 + 1 / 30)
    assert row.get("best.kernel_classifier_distance.at") == 30
    columns = comparison.default_columns(sweep)
    assert columns.index("kernel_classifier_distance") < columns.index("g_loss")
    assert "best.d_accuracy" not in columns


def test_where_keeps_what_the_expression_says(sweep: list[comparison.Row]) -> None:
    assert labels(comparison.where(sweep, "optimizer.learning_rate<1e-3 and status==finished")) == ["0", "1"]
    assert labels(comparison.where(sweep, "not_finite != null")) == ["4"]
    with pytest.raises(comparison.CompareError, match="--where"):
        comparison.where(sweep, "status")


def test_ranking_is_better_first_and_missing_last(sweep: list[comparison.Row]) -> None:
    assert labels(comparison.ranked(sweep, "best.kernel_classifier_distance")) == ["0", "1", "2", "3", "4"]
    assert labels(comparison.ranked(sweep, "best.kernel_classifier_distance", largest_first=True)) == [
        "3",
        "2",
        "1",
        "0",
        "4",
    ]
    assert labels(comparison.ranked(sweep, "g_loss"))[-1] == "4"
    with pytest.raises(comparison.CompareError, match="no run has the key g_los; did you mean"):
        comparison.ranked(sweep, "g_los")


@pytest.mark.parametrize("key", comparison.LOSSES)
def test_losses_of_different_loss_functions_are_never_ranked(tmp_path: Path, key: str) -> None:
    rows = rows_of(
        make_run(tmp_path / "a", rows=1, grid=None), make_run(tmp_path / "b", rows=1, grid=None, loss__name="hinge")
    )
    with pytest.raises(comparison.CompareError, match="different loss functions"):
        comparison.ranked(rows, key)
    assert len(comparison.ranked(rows, "d_accuracy")) == 2


def test_runs_that_differ_in_the_seed_only_become_one_row(sweep: list[comparison.Row]) -> None:
    first, second, third = comparison.grouped(sweep, ["seed"])
    assert [row.get("n") for row in (first, second, third)] == [2, 2, 1]
    assert first.get("d_loss") == pytest.approx(0.05)
    assert first.spread["d_loss"] == pytest.approx(0.0707, abs=1e-4)
    assert first.get("status") == "2 finished"
    assert "seed" not in first.values
    assert math.isnan(third.get("g_loss"))
    assert len(comparison.seed_groups(sweep)) == 2


def test_runs_on_other_data_are_no_group(tmp_path: Path) -> None:
    folders = [
        make_run(tmp_path / name, rows=1, grid=None, seed=seed, facts={"data": {"fingerprint": name}})
        for seed, name in enumerate("ab")
    ]
    assert comparison.seed_groups(rows_of(*folders)) == []


def test_a_group_counts_the_values_that_its_mean_is_of(tmp_path: Path) -> None:
    good = make_run(tmp_path / "a", rows=3, grid=None)
    bad = make_run(tmp_path / "b", rows=3, grid=None, seed=1, row=lambda i: {**default_row(i), "g_loss": math.nan})
    (group,) = comparison.grouped(rows_of(good, bad), ["seed"])
    assert group.counts["g_loss"] == 1
    assert group.get("g_loss") == default_row(30)["g_loss"]
    assert group.get("not_finite") == 10


def test_the_grids_tell_of_a_collapse(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", rows=6, grid=lambda i: samples(i, spread=1 if i < 40 else 0))
    rows = rows_of(folder)
    assert rows[0].get("generator_collapsed") is None
    comparison.diagnose_grids(rows)
    assert rows[0].get("generator_collapsed") == 40
    assert "generator collapsed @40" in rows[0].get("diagnosis")


def test_two_runs_side_by_side_show_only_what_differs(sweep: list[comparison.Row]) -> None:
    found = comparison.differences(sweep[0].entries[0], sweep[2].entries[0])
    assert ("config", "optimizer.learning_rate", 1e-4, 1e-3) in found
    assert {section for section, *_ in found} <= {"config", "run", "final", "best"}
    assert comparison.differences(sweep[0].entries[0], sweep[0].entries[0]) == []
