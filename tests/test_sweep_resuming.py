"""Going on with a sweep, whatever ended it."""

import hashlib
import json
import random
import subprocess
import time
from pathlib import Path

import pytest
from sweep_commands import RAISE, command, environment, resume

from dcgan_exp import runs
from dcgan_exp.config import ConfigError
from dcgan_exp.sweep_folders import RECORD, WAITING, Sweep
from dcgan_exp.sweep_resuming import is_sweep
from dcgan_exp.sweep_resuming import resume as resume_here

PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def start(folder: Path, *overrides: str, slow: float) -> subprocess.Popen[bytes]:
    words = command(*overrides, f"hydra.sweep.dir={folder}")
    return subprocess.Popen(words, cwd=folder.parent, env=environment(folder.parent, slow), stdout=subprocess.DEVNULL)


def statuses(folder: Path) -> list[str]:
    return [job.status for job in Sweep(folder).jobs()]


def wait_for_status(folder: Path, status: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not (folder / RECORD).exists() or status not in [Sweep(folder).status(job) for job in Sweep(folder).jobs()]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def finished_files(folder: Path) -> dict[str, str]:
    """The digest of every file of the jobs that finished."""
    done = [folder / job.folder for job in Sweep(folder).jobs() if Sweep(folder).status(job) == "finished"]
    files = [path for job in done for path in job.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_killed_sweep_is_continued_and_failed_jobs_only_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    process = start(folder, f"seed={RAISE},1", "iterations=8", slow=0.7)
    wait_for_status(folder, "failed")
    process.kill()
    process.wait()
    done = resume(folder)
    assert statuses(folder) == ["failed", "finished"], done.stdout + done.stderr
    assert done.returncode == 1
    before = finished_files(folder)

    again = resume(folder, "--failed")  # without the sabotage
    assert statuses(folder) == ["finished"] * 2, again.stdout + again.stderr
    assert again.returncode == 0
    assert before.items() <= finished_files(folder).items()
    assert len(list((folder / ".replaced").iterdir())) >= 1

    nothing = resume(folder, "--failed")
    assert (nothing.returncode, "nothing to continue" in nothing.stdout) == (0, True)


def planned(folder: Path, **changes: object) -> Path:
    """A sweep of which no job was started."""
    from dcgan_exp import combinations, launching, sweeps
    from dcgan_exp.config import register_schema

    assert launching
    register_schema()
    sweeps.create(folder, combinations.plan(["data=mnist_5k", "seed=1,2"]))
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, **changes}))
    return folder


def test_what_is_no_sweep_is_none(tmp_path: Path) -> None:
    assert not is_sweep(tmp_path)
    with pytest.raises(runs.RunError, match="is not a sweep folder"):
        resume_here(tmp_path)


def test_a_sweep_that_runs_is_left_alone(tmp_path: Path) -> None:
    folder = planned(tmp_path / "sweep")
    with Sweep(folder).only_supervisor():
        Sweep(folder).supervise()
        with pytest.raises(runs.RunError, match="is running: process"):
            resume_here(folder)


def test_values_stay_as_recorded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only its launcher can change"):
        resume_here(planned(tmp_path / "sweep"), overrides=["seed=3"])


def test_a_damaged_configuration_gets_one_line(tmp_path: Path) -> None:
    folder = planned(tmp_path / "sweep")
    record = json.loads((folder / RECORD).read_text())
    record["jobs"][1]["config"]["seed"] = "${oc.env:HOME}"
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="a plain value is needed"):
        resume_here(folder)


def test_a_changed_conf_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = planned(tmp_path / "sweep")
    record = json.loads((folder / RECORD).read_text())
    for job in record["jobs"]:
        job["config"]["batch_size"] = 64
        job["status"] = "failed"
    (folder / RECORD).write_text(json.dumps(record))
    assert resume_here(folder) == 1
    assert "conf/ has changed since in batch_size; the recorded values are used" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_kills_at_random_instants_lose_nothing(tmp_path: Path, seed: int) -> None:
    chance, folder = random.Random(seed), tmp_path / "sweep"
    process, before = start(folder, "seed=range(0,4)", "iterations=8", *PARALLEL, slow=0.3), {}
    for _ in range(3):
        time.sleep(chance.uniform(1, 25))
        process.kill()
        process.wait()
        if not is_sweep(folder):  # killed before the plan was written
            process = start(folder, "seed=range(0,4)", "iterations=8", *PARALLEL, slow=0.3)
            continue
        after = finished_files(folder)
        assert before.items() <= after.items()
        before = after
        words = [*command()[:1], "-m", "dcgan_exp", "resume", str(folder)]
        process = subprocess.Popen(words, cwd=tmp_path, env=environment(tmp_path, 0.3), stdout=subprocess.DEVNULL)
    process.wait()
    if set(statuses(folder)) != {"finished"}:
        resume(folder)
    assert statuses(folder) == ["finished"] * 4
    assert before.items() <= finished_files(folder).items()
    assert WAITING not in statuses(folder)
