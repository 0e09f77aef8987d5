"""What a damaged folder can go on from; everything damaged is told, and nothing damaged is used."""

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fault_injection import SMALL, damage, killed_copy

from dcgan_exp import recovery, runs, training
from dcgan_exp.config import ConfigError, compose
from dcgan_exp.data import Dataset

Copy = Callable[[], Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A finished run with checkpoints at iterations 3, 6, 9 and 12."""
    folder = tmp_path_factory.mktemp("recovery") / "run"
    training.train(compose([*SMALL, "iterations=12", "keep_checkpoints=99"]), digits, folder)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """What was left when it was killed after the checkpoint of iteration 9."""
    return killed_copy(run, tmp_path / "copy", 9)


def damaged_parts(folder: Path) -> dict[str, Path]:
    """Files, and what a line that tells of their damage says."""
    return {
        "checkpoint": runs.checkpoint_path(folder, 9),
        "record": folder / runs.RECORD,
        "metrics": folder / runs.METRICS,
        "grid": runs.sample_path(folder, 4),
    }


def test_an_intact_folder(copy: Path) -> None:
    found = recovery.examine(copy)
    assert (found.lines, found.damaged, found.iteration, found.is_finished) == ([], [], 9, False)


@pytest.mark.parametrize("part", ["checkpoint", "record", "metrics", "grid"])
def test_every_damage_is_told(copy: Path, part: str) -> None:
    path = damaged_parts(copy)[part]
    whole = path.read_bytes()
    if part == "metrics":  # the row after the checkpoint is made again anyway
        whole = whole.partition(b"\n12,")[0] + b"\n"
    random_ = random.Random(part)
    for _ in range(50):
        path.write_bytes(whole)
        damage(path, random_)
        lines = recovery.examine(copy).lines
        assert len(lines) == 1, lines
        assert str(path) in lines[0]
        assert "\n" not in lines[0]


def test_the_newest_valid_checkpoint_counts(copy: Path) -> None:
    for iteration in (9, 6):
        damage(runs.checkpoint_path(copy, iteration), random.Random(0))
    found = recovery.examine(copy)
    assert found.iteration == 3
    recovery.cut_back(found)
    assert [path.name for path in runs.checkpoint_paths(copy)] == ["00000003.safetensors"]
    assert runs.checkpoint_path(copy, 9).with_name("00000009.safetensors.damaged").exists()
    assert list(runs.read(copy).samples()) == [0]
    assert runs.read(copy).metrics()["iteration"] == []


def test_cutting_back_leaves_rows_grids_and_log_up_to_the_checkpoint(copy: Path, run: Path) -> None:
    (copy / runs.SAMPLES / ".000012.png.99.tmp").write_bytes(b"half")
    (copy / ".99.tmp.generator.keras").write_bytes(b"half")
    (copy / ".run.json.99.tmp").write_bytes(b"half")
    recovery.cut_back(recovery.examine(copy))
    assert runs.read(copy).metrics()["iteration"] == [4, 8]
    assert list(runs.read(copy).samples()) == [0, 4, 8]
    assert (run / runs.METRICS).read_bytes().startswith((copy / runs.METRICS).read_bytes())
    assert " 8 [D loss" in (copy / runs.LOG).read_text().splitlines()[-1]
    assert not list(copy.rglob("*.tmp*"))


def test_a_backup_that_shares_files_by_hard_links_stays_as_it_is(copy: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    os.link(copy / runs.METRICS, backup)
    before = backup.read_bytes()
    recovery.cut_back(recovery.examine(copy))
    assert backup.read_bytes() == before


def test_without_a_checkpoint_the_configuration_must_be_readable(copy: Path) -> None:
    for path in runs.checkpoint_paths(copy):
        path.write_bytes(b"")
    assert recovery.examine(copy).checkpoint is None
    (copy / runs.CONFIG).write_text("seed: [")
    with pytest.raises(runs.RunError, match=r"config\.yaml can't be read"):
        recovery.examine(copy)


def test_an_unreadable_configuration_is_taken_from_the_checkpoint(copy: Path) -> None:
    (copy / runs.CONFIG).write_bytes(b"\xff\xfe\0")
    found = recovery.examine(copy)
    assert found.is_config_damaged
    assert found.config.latent_dim == 10


def test_a_grid_of_nobody_is_set_aside(copy: Path) -> None:
    runs.sample_path(copy, 5).write_bytes(b"a bomb")
    found = recovery.examine(copy)
    assert found.lines == [f"{runs.sample_path(copy, 5)} is no grid of this run"]
    recovery.cut_back(found)
    assert list(runs.read(copy).samples()) == [0, 4, 8]


@pytest.mark.parametrize("name", [runs.LOG, runs.SAMPLES, runs.CHECKPOINTS, "samples/000000.png", ".hydra"])
def test_nothing_is_written_through_a_link(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(runs.RunError, match="symbolic link"):
        recovery.examine(copy)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch HACKED']",
        "seed: !!python/name:os.system",
        "_target_: os.system",
        "hydra: {callbacks: {x: {_target_: os.system}}}",
        "name: ${oc.env:HOME}",
        "data: {path: '${oc.env:HOME}'}",
        "model: {generator: {_target_: subprocess.Popen, args: [touch, HACKED]}}",
        "batch_size: [1, 2]",
        "- 1",
        "&a [*a, *a]",
        "[" * 3000,
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(20)),
    ],
)
def test_a_stranger_s_configuration_runs_nothing(
    copy: Path, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in runs.checkpoint_paths(copy):
        path.unlink()
    (copy / runs.CONFIG).write_text(text)
    with pytest.raises((runs.RunError, ConfigError)) as caught:
        recovery.examine(copy)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"status": ["running"]}', '{"pid": "x", "heartbeat": {}}', "[" * 100_000]
)
def test_a_stranger_s_record_does_no_harm(copy: Path, text: str) -> None:
    (copy / runs.RECORD).write_text(text)
    found = recovery.examine(copy)
    assert len(found.lines) == 1
    assert not found.is_finished


class Exploit:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "npz"])
def test_a_pickle_in_a_checkpoint_s_place_runs_nothing(copy: Path, tmp_path: Path, kind: str) -> None:
    path = runs.checkpoint_path(copy, 99)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Exploit(tmp_path / "HACKED")))
    else:
        with path.open("wb") as file:
            np.savez(file, metrics=np.array([Exploit(tmp_path / "HACKED")], object))
    found = recovery.examine(copy)
    assert (found.iteration, len(found.lines)) == (9, 1)
    assert not (tmp_path / "HACKED").exists()


def test_a_pipe_in_a_checkpoint_s_place_does_not_hang(copy: Path) -> None:
    os.mkfifo(runs.checkpoint_path(copy, 99))
    assert recovery.examine(copy).lines == [f"{runs.checkpoint_path(copy, 99)} is damaged: it is not a file"]
