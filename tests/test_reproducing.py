"""Running a folder's experiment again: the same bits, or the first iteration that differs."""

from pathlib import Path

import pytest
from fault_injection import SMALL, killed_copy

from dcgan_exp import checkpoints, reproducing, runs, training
from dcgan_exp.config import compose
from dcgan_exp.data import Dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A finished run with checkpoints at iterations 3, 6 and 8."""
    folder = tmp_path_factory.mktemp("reproducing") / "run"
    training.train(compose([*SMALL, "iterations=8", "keep_checkpoints=99"]), digits, folder)
    return folder


def test_the_same_bits(run: Path, tmp_path: Path) -> None:
    result = reproducing.reproduce(run, tmp_path / "again")
    assert result == reproducing.Reproduction(8, None, [], [])


def test_a_run_that_has_not_finished_is_compared_up_to_its_checkpoint(run: Path, tmp_path: Path) -> None:
    result = reproducing.reproduce(killed_copy(run, tmp_path / "copy", 6), tmp_path / "again")
    assert (result.iterations, result.first_difference) == (6, None)


def test_the_first_iteration_that_differs_is_named(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 8)
    path = runs.checkpoint_path(copy, 6)
    checkpoint = checkpoints.load(path)
    checkpoint.arrays["generator.000"].flat[0] += 1
    checkpoints.save(path, checkpoint)
    (copy / runs.METRICS).write_bytes((copy / runs.METRICS).read_bytes().replace(b"\n8,64,", b"\n8,65,"))
    result = reproducing.reproduce(copy, tmp_path / "again")
    assert (result.first_difference, result.differing) == (6, ["1 variables, the first of them generator.000"])


def test_a_fork_cannot_be_reproduced_from_its_configuration(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 8)
    runs.write_record(copy, {**runs.intact_record(copy), "forked_from": {"folder": "elsewhere"}})
    with pytest.raises(runs.RunError, match="was forked"):
        reproducing.reproduce(copy, tmp_path / "again")
