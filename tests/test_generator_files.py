"""Which file a generator comes from, in every state of a run folder."""

from pathlib import Path

import pytest

from dcgan_exp import runs
from dcgan_exp.generator_files import candidates


def made(folder: Path, *files: str, status: str = "finished") -> runs.Run:
    (folder / runs.CHECKPOINTS).mkdir()
    for name in files:
        (folder / name).touch()
    return runs.Run(folder, {"status": status, "iteration": 20})


def names(run: runs.Run, checkpoint: str | None = None, raw: bool = False) -> list[str]:
    return [path.name for path in candidates(run, checkpoint, raw)]


TEN, TWENTY = "checkpoints/00000010.safetensors", "checkpoints/00000020.safetensors"
ENDED = ("generator.keras", "generator_raw.keras", "generator_best.keras", TEN, TWENTY)


@pytest.mark.parametrize(
    ("checkpoint", "raw", "expected"),
    [
        (None, False, ["generator.keras"]),
        ("last", True, ["generator_raw.keras"]),
        ("best", False, ["generator_best.keras"]),
        ("10", False, ["00000010.safetensors"]),
        ("20", False, ["00000020.safetensors", "generator.keras"]),
    ],
)
def test_of_a_finished_run(tmp_path: Path, checkpoint: str | None, raw: bool, expected: list[str]) -> None:
    assert names(made(tmp_path, *ENDED), checkpoint, raw) == expected


def test_before_the_end_the_newest_checkpoint_comes_first(tmp_path: Path) -> None:
    run = made(tmp_path, *ENDED, status="interrupted")
    assert names(run) == ["00000020.safetensors", "00000010.safetensors", "generator.keras"]


def test_the_best_is_kept_averaged_only(tmp_path: Path) -> None:
    with pytest.raises(runs.RunError, match="--raw: the best generator is kept with its averaged weights only"):
        candidates(made(tmp_path, *ENDED), "best", True)


def test_without_an_average_the_plain_weights_are_the_raw_ones(tmp_path: Path) -> None:
    assert names(made(tmp_path, "generator.keras"), raw=True) == ["generator.keras"]


@pytest.mark.parametrize(
    ("files", "checkpoint", "told"),
    [
        ((), None, "holds no generator yet: it is interrupted at iteration 20"),
        ((TEN, TWENTY), "15", "has no checkpoint 15; there is 10, 20, last"),
        ((TEN, "generator_best.keras"), "../10", "there is 10, best, last"),
        ((), "best", "there is none"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    tmp_path: Path, files: tuple[str, ...], checkpoint: str | None, told: str
) -> None:
    with pytest.raises(runs.RunError, match=told):
        candidates(made(tmp_path, *files, status="interrupted"), checkpoint)
