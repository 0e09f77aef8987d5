"""Kills, failing disks and damaged files in real runs: a fast subset always, the full suite by pytest -m faults.

FAULTS_SEED chooses other instants, FAULTS_KILLS another number of kills.
"""

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_injection import (
    SMALL,
    STATEFUL,
    Kill,
    damage,
    differing,
    finish,
    kill_after,
    killed_copy,
    leftovers,
    record,
    start,
)

from dcgan_exp import checkpoints, locks, resuming, runs, training
from dcgan_exp.config import Config, compose
from dcgan_exp.data import Dataset

Make = Callable[..., Config]
SEED = int(os.environ.get("FAULTS_SEED", "0"))
KILLS = int(os.environ.get("FAULTS_KILLS", "100"))
STAGES = ("writing", "written", "renamed")
RUN = (*SMALL, "model.discriminator.dropout=0.3", "iterations=40")
KEPT = tuple(text for text in RUN if "interval" not in text and "iterations" not in text)
LONG = (*KEPT, "iterations=240", "checkpoint_interval=15", "sample_interval=20")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run, from a process like those that are killed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert finish(folder, RUN) == 0
    return folder


def survive(folder: Path, whole: Path) -> None:
    """Resume to the end, and compare."""
    assert finish(folder, RUN) == 0
    assert differing(folder, whole) == []
    assert leftovers(folder) == []
    assert [path.name for path in runs.checkpoint_paths(folder)] == ["00000040.safetensors", "00000039.safetensors"]
    assert runs.read(folder).status == "finished"


# Kills -------------------------------------------------------------------------------------------


def kill_within_save(folder: Path, number: int) -> None:
    """Each of the fourteen saves, at each stage, in turn."""
    assert finish(folder, RUN, Kill(1 + number % 14, STAGES[number % 3])) == -9


def kill_anywhere(folder: Path, instant: float) -> None:
    """At an instant that may lie before the first checkpoint, or after the last."""
    kill_after(start(folder, RUN), folder / runs.RECORD, instant)


def test_killed_within_a_save_and_again_at_any_instant(whole: Path, tmp_path: Path) -> None:
    kill_within_save(tmp_path / "run", 5 + SEED)
    kill_anywhere(tmp_path / "run", random.Random(SEED).uniform(0.2, 3))
    survive(tmp_path / "run", whole)


@pytest.mark.faults
def test_many_kills_at_random_instants_and_within_saves(tmp_path: Path) -> None:
    random_, killed = random.Random(SEED), 0
    whole = tmp_path / "whole"
    started = time.monotonic()
    assert finish(whole, LONG) == 0
    longest = time.monotonic() - started
    for number in range(KILLS):
        folder, kind = tmp_path / f"{number}", number % 3
        if kind == 0:
            assert finish(folder, LONG, Kill(1 + (number // 3 + SEED) % 16, STAGES[number // 3 % 3])) == -9
            killed += 1
        else:  # at any instant, or at any after the first checkpoint
            process = start(folder, LONG)
            first = runs.checkpoint_path(folder, 15) if kind == 2 else folder / runs.RECORD
            killed += kill_after(process, first, random_.uniform(0, longest * (0.7, 0.2)[kind - 1]))
        assert finish(folder, LONG) == 0
        assert differing(folder, whole) == []
        assert leftovers(folder) == []
        print(f"{number + 1} resumes after {killed} kills: {number + 1} bit-identical ends, seed {SEED}", flush=True)
    assert killed > 0.7 * KILLS


@pytest.mark.faults
def test_every_checkpoint_of_a_run_with_all_kinds_of_state(digits: Dataset, tmp_path: Path) -> None:
    config = compose([*STATEFUL, "iterations=20", "checkpoint_interval=1", "keep_checkpoints=99"])
    assert training.train(config, digits, tmp_path / "run").status == "finished"
    for iteration in range(1, 21):
        copy = killed_copy(tmp_path / "run", tmp_path / f"{iteration}", iteration)
        assert resuming.resume(copy).status == "finished"
        assert differing(copy, tmp_path / "run") == [], iteration


# Disks -------------------------------------------------------------------------------------------


def write_fails(folder: Path, whole: Path, number: int, code: int) -> None:
    """What was saved before stays valid, and the run can be resumed to its end."""
    if finish(folder, RUN, (number, code)) == 0:  # the write of the heartbeat alone: a later one makes up for it
        assert differing(folder, whole) == []
        return
    if not (folder / runs.RECORD).exists():
        assert not runs.checkpoint_paths(folder)
        return
    for path in runs.checkpoint_paths(folder):
        checkpoints.load(path)
    survive(folder, whole)


def test_a_failing_write_costs_no_more_than_the_work_since_the_last_checkpoint(whole: Path, tmp_path: Path) -> None:
    write_fails(tmp_path / "run", whole, 20 + SEED, errno.ENOSPC)


@pytest.mark.faults
@pytest.mark.parametrize("number", range(1, 51))
def test_each_of_the_first_writes_fails(whole: Path, tmp_path: Path, number: int) -> None:
    write_fails(tmp_path / "run", whole, number, (errno.ENOSPC, errno.EACCES, errno.EIO)[(number + SEED) % 3])


def test_a_full_disk_ends_the_run_in_one_line(
    small_config: Make, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        if checkpoint.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    checkpoint = runs.checkpoint_path(tmp_path / "run", 2)
    monkeypatch.setattr(os, "fsync", full)
    outcome = training.train(small_config("checkpoint_interval=2"), digits, tmp_path / "run")
    assert outcome.status == "failed"
    assert (outcome.reason or "").startswith(f"No space left on device: {tmp_path}/run/")
    assert record(tmp_path / "run")["status"] == "failed"
    assert checkpoints.load(checkpoint).iteration == 2
    monkeypatch.undo()
    assert resuming.resume(tmp_path / "run").status == "finished"


def test_a_removed_folder_ends_the_run_in_one_line(
    small_config: Make, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runs.Recorder.note

    def note(self: runs.Recorder, **facts: int) -> None:
        real(self, **facts)
        if self.folder.exists():
            self.folder.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(runs.Recorder, "note", note)
    outcome = training.train(small_config(), digits, tmp_path / "run")
    assert (outcome.status, outcome.reason) == ("failed", f"{tmp_path}/run was removed while the run was working")
    assert not (tmp_path / "run").exists()


# Damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part", ["checkpoint", *(pytest.param(part, marks=pytest.mark.faults) for part in ("record", "metrics", "all"))]
)
def test_a_damaged_folder_is_resumed_to_the_same_end(whole: Path, tmp_path: Path, part: str) -> None:
    copy, random_ = killed_copy(whole, tmp_path / "copy", 39), random.Random(f"{part} {SEED}")
    runs.checkpoint_path(copy, 36).write_bytes(b"a checkpoint in name only")
    parts = {
        "checkpoint": [runs.checkpoint_path(copy, 39)],
        "record": [copy / runs.RECORD],
        "metrics": [copy / runs.METRICS],
        "all": [copy / runs.RECORD, copy / runs.METRICS, *runs.checkpoint_paths(copy)],
    }
    for path in parts[part]:
        path.write_bytes(path.read_bytes()[: random_.randrange(100)])
    assert finish(copy, RUN) == 0
    assert differing(copy, whole) == []


@pytest.mark.faults
def test_two_hundred_damaged_files_are_told(whole: Path, tmp_path: Path) -> None:
    from dcgan_exp import recovery

    copy, random_, told = killed_copy(whole, tmp_path / "copy", 39), random.Random(SEED), 0
    for path in (
        runs.checkpoint_path(copy, 39),
        copy / runs.RECORD,
        copy / runs.METRICS,
        *runs.read(copy).samples().values(),
    ):
        content = path.read_bytes()
        if path.name == runs.METRICS:
            content = content.partition(b"\n40,")[0] + b"\n"
        if path.suffix == ".png" and int(path.stem) > 39:
            continue
        for _ in range(50 if path.suffix != ".png" else 5):
            path.write_bytes(content)
            damage(path, random_)
            told += any(str(path) in line for line in recovery.examine(copy).lines)
        path.write_bytes(content)
    assert told == 200


# Two at once -------------------------------------------------------------------------------------


def test_a_second_process_is_refused_by_pid_and_host(whole: Path, tmp_path: Path) -> None:
    copy = killed_copy(whole, tmp_path / "copy", 39)
    with locks.held(copy):
        assert finish(copy, RUN) != 0
        with pytest.raises(runs.RunError, match=f"in use by process {os.getpid()} on "):
            resuming.resume(copy)
    survive(copy, whole)


@pytest.mark.faults
def test_twenty_simultaneous_starts_make_twenty_folders(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), *SMALL, "iterations=2"]
    processes = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(20)]
    assert [process.wait() for process in processes] == [0] * 20
    found = [runs.read(path.parent) for path in tmp_path.rglob(runs.RECORD)]
    assert [run.status for run in found] == ["finished"] * 20


@pytest.mark.faults
@pytest.mark.parametrize("threads", [1, 2])
def test_five_fresh_processes_give_one_result(tmp_path: Path, threads: int) -> None:
    overrides = [*STATEFUL, "iterations=10", f"threads={threads}"]
    for number in range(5):
        command = [sys.executable, str(ROOT / "run.py"), *overrides, f"hydra.run.dir={tmp_path}/{number}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert differing(tmp_path / f"{number}", tmp_path / "0") == []


# From the command line ---------------------------------------------------------------------------


def command_line(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines on the error stream."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_run_into_an_existing_run_is_refused_before_anything_is_written(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    code, lines = command_line(str(ROOT / "run.py"), *SMALL, f"hydra.run.dir={whole}")
    assert (code, len(lines)) == (2, 1)
    assert f"dcgan-exp resume {whole}" in lines[0]
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_the_verb_resumes_and_its_exit_codes_tell(whole: Path, tmp_path: Path) -> None:
    copy = killed_copy(whole, tmp_path / "copy", 39)
    code, lines = command_line("-m", "dcgan_exp", "resume", str(copy), "seed=3")
    assert (code, len(lines)) == (2, 1)
    assert "seed=3 (was 0) would change the result" in lines[0]
    assert command_line("-m", "dcgan_exp", "resume", str(copy)) == (0, [])
    assert differing(copy, whole) == []
    assert command_line("-m", "dcgan_exp", "resume", str(tmp_path))[0] == 2
