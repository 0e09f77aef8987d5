"""One job in a process of its own: how every end of it is told."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_commands import HANG, environment

from dcgan_exp import jobs, runs
from dcgan_exp.config import Config, to_dict
from dcgan_exp.sweep_folders import Job, Sweep

FACTS = {"objective": "g_loss", "is_maximised": False, "total": 1, "fixed": ["batch_size=8"], "pairs": {}}


@pytest.mark.parametrize(
    ("code", "exceeded", "is_out_of_memory", "expected"),
    [
        (-9, None, False, ("killed", "SIGKILL")),
        (-9, None, True, ("killed", "SIGKILL: out of memory")),
        (-11, None, False, ("killed", "SIGSEGV")),
        (3, None, False, ("failed", "the process ended with exit code 3")),
        (0, None, False, ("failed", "the process ended with exit code 0")),
        (-9, 5.0, False, ("killed", "timed out: job_timeout=5 seconds")),
    ],
)
def test_an_end_without_a_word_is_told_from_outside(
    tmp_path: Path, code: int, exceeded: float | None, is_out_of_memory: bool, expected: tuple[str, str]
) -> None:
    jobs._settle(tmp_path, code, exceeded, is_out_of_memory)
    record = runs.read(tmp_path).record
    assert (record["status"], record["reason"]) == expected


def test_what_a_run_said_itself_stays(tmp_path: Path) -> None:
    runs.amend(tmp_path, status="failed", reason="its own")
    jobs._settle(tmp_path, 1, None, False)
    assert runs.read(tmp_path).record["reason"] == "its own"


def test_a_run_that_finished_in_the_last_moment_has_not_timed_out(tmp_path: Path) -> None:
    runs.amend(tmp_path, status="finished", reason=None)
    jobs._settle(tmp_path, 0, 5.0, False)
    assert runs.read(tmp_path).status == "finished"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no\nsecond line"), ("failed", "ValueError: no")),
        (SystemExit(3), ("failed", "SystemExit: 3")),
        (MemoryError("9 GB"), ("killed", "out of memory: MemoryError: 9 GB")),
        (jobs.StoppedError("SIGTERM"), ("interrupted", "SIGTERM")),
    ],
)
def test_an_error_before_the_training_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: tuple[str, str]
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "_train", broken)
    assert not jobs.body(tmp_path, is_continued=False)
    record = runs.read(tmp_path).record
    assert (record["status"], record["reason"]) == expected
    if expected[0] == "failed":
        assert "Traceback" in (tmp_path / runs.LOG).read_text()


def prepared(folder: Path, config: Config) -> tuple[Sweep, Job]:
    job = Job(0, "00-seed", ["seed=1"], to_dict(config))
    sweep = Sweep.create(folder, FACTS, [job])
    jobs.prepare(sweep, job, is_continued=False)
    return sweep, job


def test_the_folder_holds_plain_resolved_values(tmp_path: Path, small_config: Callable[..., Config]) -> None:
    sweep, job = prepared(tmp_path, small_config())
    assert "${" not in (sweep.path(job) / runs.CONFIG).read_text()
    assert (sweep.path(job) / runs.OVERRIDES).read_text() == "- batch_size=8\n- seed=1\n"


@pytest.mark.parametrize("who", ["launcher", "sweep"])
def test_a_job_notices_that_nobody_waits_for_it(tmp_path: Path, small_config: Callable[..., Config], who: str) -> None:
    sweep, job = prepared(tmp_path / "sweep", small_config("iterations=1000000"))
    folder = sweep.path(job)
    waiter = "import subprocess, sys, os; subprocess.Popen([*sys.argv[1:], str(os.getpid())]).wait()"
    words = [sys.executable, "-m", "dcgan_exp.jobs", str(folder), str(sweep.folder)]
    launcher = subprocess.Popen([sys.executable, "-c", waiter, *words])
    supervisor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        start = runs.process_start(supervisor.pid)
        facts = {"pid": supervisor.pid, "process_start": start, "host": socket.gethostname()}
        runs.write_whole(sweep.folder / ".state" / "supervisor.json", json.dumps(facts).encode())
        wait_for(lambda: (folder / runs.RECORD).exists() and runs.read(folder).record["iteration"] > 0)
        {"launcher": launcher, "sweep": supervisor}[who].kill()
        wait_for(lambda: runs.read(folder).record["status"] == "interrupted", seconds=15)
        assert runs.read(folder).record["reason"] == "SIGTERM"
    finally:
        launcher.kill()
        supervisor.kill()
        launcher.wait()
        supervisor.wait()


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_job_that_ignores_being_asked_is_killed(
    tmp_path: Path, small_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():  # a child inherits what setenv sets, not a replaced os.environ
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jobs, "GRACE_SECONDS", 1.0)
    job = Job(0, "00-seed", [f"seed={HANG}"], to_dict(small_config(f"seed={HANG}", "job_timeout=20")))
    sweep = Sweep.create(tmp_path / "sweep", FACTS, [job])
    sweep.supervise()
    jobs.run(sweep, job, is_continued=False)
    ended = sweep.jobs()[0]
    assert (ended.status, ended.reason) == ("killed", "timed out: job_timeout=20 seconds")
