"""Real sweeps of tiny runs: jobs that go wrong on purpose, Ctrl-C, side by side, on each launcher."""

import csv
import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from sweep_commands import EXIT, HANG, KILL, RAISE, command, environment, run

from dcgan_exp import launching, runs
from dcgan_exp.sweep_folders import RECORD, TABLE, WAITING, Job, Sweep
from dcgan_exp.sweeps import fair_threads, is_plain, measure, objective

BAD = {RAISE: "failed", EXIT: "failed", KILL: "killed", HANG: "killed"}
needs = {
    name: pytest.mark.skipif(not importlib.util.find_spec(package), reason=f"{package} is not installed")
    for name, package in (("submitit_local", "submitit"), ("ray", "ray"), ("optuna", "optuna"))
}


def sweep(folder: Path, *overrides: str, slow: float = 0.0) -> subprocess.CompletedProcess[str]:
    return run(command(*overrides, f"hydra.sweep.dir={folder}"), folder.parent, environment(folder.parent, slow))


def statuses(folder: Path) -> dict[str, str]:
    return {" ".join(job.overrides): job.status for job in Sweep(folder).jobs()}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two good jobs and five that go wrong, two at a time."""
    folder = tmp_path_factory.mktemp("sweeps") / "mixed"
    seeds, limits, rates = [1, *BAD, 5, 6], [600, 600, 600, 600, 12, 600, 600], [1e-3] * 5 + [1e30, 1e-3]
    pairs = f"zip={{seed:{seeds},job_timeout:{limits},optimizer.learning_rate:{rates}}}".replace(" ", "")
    return folder, sweep(folder, pairs, "optimizer=sgd", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def test_jobs_that_go_wrong_stop_no_other(mixed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = mixed
    jobs = Sweep(folder).jobs()
    assert {job.config["seed"]: job.status for job in jobs} == {**BAD, 1: "finished", 5: "failed", 6: "finished"}
    reasons = {job.config["seed"]: job.reason for job in jobs}
    assert reasons[RAISE] == "ValueError: broken on purpose"
    assert reasons[EXIT] == "SystemExit: 3"
    assert reasons[KILL] == "SIGKILL"
    assert reasons[HANG] == "timed out: job_timeout=12 seconds"
    assert "not finite" in str(reasons[5])
    assert done.returncode == 1, done.stdout + done.stderr


def test_run_folders_and_both_records_agree(mixed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = mixed
    rows = list(csv.DictReader((folder / TABLE).read_text().splitlines()))
    for job, row in zip(Sweep(folder).jobs(), rows, strict=True):
        found = runs.read(folder / job.folder)
        assert (found.status, found.record["reason"]) == (job.status, job.reason)
        assert (row["status"], row["reason"], Path(row["folder"])) == (
            job.status,
            job.reason or "",
            folder / job.folder,
        )
    raised = next(job for job in Sweep(folder).jobs() if job.config["seed"] == RAISE)
    assert "Traceback" in (folder / raised.folder / runs.LOG).read_text()


def test_the_end_is_a_table_with_reasons(mixed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = mixed
    assert "[7/7]" in done.stdout
    assert "ETA" in done.stdout
    assert "2 of 7 finished" in done.stdout
    table = done.stdout.partition(" job ")[2]
    assert "learning_rate" in table
    assert "batch_size" not in table
    assert "ValueError: broken on purpose" in table
    assert done.stderr == ""


def test_a_jobs_folder_stands_alone(mixed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = mixed
    assert (folder / "multirun.yaml").exists()
    config = yaml.safe_load((folder / Sweep(folder).jobs()[0].folder / runs.CONFIG).read_text())
    assert config["seed"] == 1
    assert config["threads"] == Sweep(folder).jobs()[0].config["threads"] >= 1
    overrides = yaml.safe_load((folder / Sweep(folder).jobs()[0].folder / runs.OVERRIDES).read_text())
    assert {"optimizer=sgd", "seed=1", "optimizer.learning_rate=0.001"} <= set(overrides)
    assert not [text for text in overrides if "zip" in text]


def test_side_by_side_equals_one_after_the_other(
    mixed: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    parallel = mixed[0] / Sweep(mixed[0]).jobs()[0].folder
    threads = Sweep(mixed[0]).jobs()[0].config["threads"]
    serial = ["optimizer=sgd", "optimizer.learning_rate=0.001", "seed=1", f"threads={threads}"]
    assert sweep(tmp_path / "serial", *serial).returncode == 0
    one = tmp_path / "serial" / Sweep(tmp_path / "serial").jobs()[0].folder
    for name in ("000000", "000002", "000004"):
        assert (one / "samples" / f"{name}.png").read_bytes() == (parallel / "samples" / f"{name}.png").read_bytes()
    first, second = (runs.read(folder).record["final"] for folder in (one, parallel))
    assert first == second


@pytest.mark.parametrize(
    "launcher",
    [pytest.param([], marks=pytest.mark.slow), ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]],
)
def test_ctrl_c_ends_the_running_jobs_and_starts_no_other(tmp_path: Path, launcher: list[str]) -> None:
    folder = tmp_path / "sweep"
    words = command("seed=1,2,3,4", "iterations=1000000", *launcher, f"hydra.sweep.dir={folder}")
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running = 2 if launcher else 1
    deadline = time.monotonic() + 600
    while sum(found.record["iteration"] > 4 for found in _started(folder)) < running:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 130, output
    assert sorted(statuses(folder).values()) == ["interrupted"] * running + [WAITING] * (4 - running)
    assert "not started" in output
    assert len(_started(folder)) == running


def _started(folder: Path) -> list[runs.Run]:
    return [runs.read(path.parent) for path in folder.glob(f"*/{runs.RECORD}") if path.stat().st_size]


def test_strange_values_make_plain_folders(tmp_path: Path) -> None:
    values = ["../../größe, a/b", "x" * 300]
    texts = ",".join(f"'{value}'" for value in values)
    plan = command("iterations=1", f"name={texts}", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    done = run([*plan, "threads=1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = Sweep(tmp_path / "sweep").jobs()
    assert [job.config["name"] for job in jobs] == values
    assert {path.name for path in tmp_path.iterdir()} == {"sweep"}
    assert all((tmp_path / "sweep" / job.folder / runs.RECORD).exists() for job in jobs)


# Refused before anything is written ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["seed=range(0,19)", "loss=hinge,hing"], "loss=hing: choose from"),
        (["optimizer.learning_rate=1e-3,1e-4,0"], "optimizer.learning_rate=0.0: allowed"),
        (["data=mnist_5k,mnist", "data.path=/not/there"], "/not/there"),
        (["seed=1,2", "objective=accuracy"], "objective=accuracy: choose from"),
        (["model=glob(zzz*)"], "no job"),
        (["seed=1,2", "hydra/launcher=none_such"], "hydra/launcher=none_such: choose from"),
        (["seed=1,2", "hydra.sweep.dir=/proc/here"], "/proc"),
    ],
)
def test_a_bad_sweep_gets_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], overrides: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["run.py", "-m", *overrides])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit) as end:
        launching.launch(lambda: pytest.fail("the sweep started"))
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert told in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# Small parts -------------------------------------------------------------------------------------


def test_threads_are_shared_out() -> None:
    cores = len(os.sched_getaffinity(0))
    joblib = {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"}
    assert fair_threads(OmegaConf.create({**joblib, "n_jobs": 2}), 10) == max(1, cores // 2)
    assert fair_threads(OmegaConf.create({**joblib, "n_jobs": -1}), 1000) == (1 if cores > 1 else 0)
    assert fair_threads(OmegaConf.create({**joblib, "n_jobs": 2}), 1) == 0
    assert fair_threads(OmegaConf.create({"_target_": "x.submitit_launcher.SlurmLauncher", "cpus_per_task": 8}), 9) == 8
    assert fair_threads(OmegaConf.create({"_target_": "hydra._internal.core_plugins.basic_launcher"}), 9) == 0


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("n_jobs", "2", True),
        ("partition", "gpu-long", True),
        ("_target_", "os.system", False),
        ("ray.init._target_", "os.system", False),
        ("setup", "rm -rf /", False),
        ("x", "${oc.env:HOME}", False),
        ("ray.init.address", "10.0.0.1:6379", False),
    ],
)
def test_only_plain_words_are_taken_from_a_record(key: str, value: str, expected: bool) -> None:
    assert is_plain(key, value) is expected


def test_the_objective_is_the_worst_where_there_is_none() -> None:
    record = {"objective": "best.g_loss", "is_maximised": False}
    job = Job(0, "00", [], {}, "finished", best={"g_loss": {"value": 0.5, "iteration": 3}}, final={"d_loss": 2})
    assert objective(job, record) == 0.5
    assert measure(job, "d_loss") == 2.0
    failed = Job(0, "00", [], {}, "failed", best=job.best)
    assert objective(failed, record) == float("inf")
    assert objective(failed, {**record, "is_maximised": True}) == float("-inf")


# Slow --------------------------------------------------------------------------------------------


@pytest.fixture
def ray_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A Ray cluster of this machine alone, and the overrides that reach it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    words = ["ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--port=6403", "--num-cpus=2"]
    more = ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir=/tmp/ray-{os.getpid()}"]
    with open(tmp_path / "ray.log", "wb") as log:
        head = subprocess.Popen([*words, *more], env=environment(tmp_path), stdout=log, stderr=log)
    deadline = time.monotonic() + 600
    while "block forever" not in (tmp_path / "ray.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    keys = {"address": "127.0.0.1:6403", "_node_ip_address": "127.0.0.1", "object_store_memory": "null"}
    yield [f"+hydra.launcher.ray.init.{key}={value}" for key, value in keys.items()]
    head.terminate()
    head.wait()


@pytest.mark.slow
@needs["ray"]
def test_a_ray_cluster(tmp_path: Path, ray_cluster: list[str]) -> None:
    check_launcher(tmp_path, "hydra/launcher=ray", *ray_cluster)


@pytest.mark.slow
@needs["submitit_local"]
def test_submitit(tmp_path: Path) -> None:
    check_launcher(tmp_path, "hydra/launcher=submitit_local")


def check_launcher(folder: Path, *launcher: str) -> None:
    done = sweep(folder / "sweep", f"seed=1,{RAISE},{KILL}", *launcher)
    assert done.returncode == 1, done.stdout + done.stderr
    assert list(statuses(folder / "sweep").values()) == ["finished", "failed", "killed"]


@pytest.mark.slow
@needs["optuna"]
def test_a_search(tmp_path: Path) -> None:
    rate = "optimizer.learning_rate=tag(log,interval(1e-5,1e-2))"
    options = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2"]
    done = sweep(tmp_path / "sweep", rate, f"seed=choice(1,{RAISE})", *options)
    jobs = Sweep(tmp_path / "sweep").jobs()
    assert len(jobs) == 4, done.stdout + done.stderr
    assert all(job.status == ("failed" if job.config["seed"] == RAISE else "finished") for job in jobs)
    best = min((job.final["g_loss"] for job in jobs if job.status == "finished"), default=None)
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert best is None or found["best_value"] == pytest.approx(best)


@pytest.mark.slow
def test_twenty_jobs_of_which_ten_go_wrong(tmp_path: Path) -> None:
    seeds = [1, RAISE, 2, EXIT, 3, KILL, 4, HANG, 5, 6] * 2
    limits = [15 if seed == HANG else 600 for seed in seeds]
    rates = [1e30 if seed == 6 else 1e-3 for seed in seeds]
    pairs = f"zip={{seed:{seeds},job_timeout:{limits},optimizer.learning_rate:{rates}}}".replace(" ", "")
    folder = tmp_path / "sweep"
    done = sweep(folder, pairs, "optimizer=sgd", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    expected = {**BAD, 6: "failed"}
    assert [job.status for job in Sweep(folder).jobs()] == [expected.get(seed, "finished") for seed in seeds]
    assert done.returncode == 1


@pytest.mark.slow
def test_the_sweeps_own_process_does_not_grow(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    process = subprocess.Popen(
        command("seed=range(0,50)", "iterations=1", f"hydra.sweep.dir={folder}"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    seen = []
    while process.poll() is None:
        if (folder / RECORD).exists():
            seen.append(_megabytes(process.pid))
        time.sleep(1)
    assert process.returncode == 0
    assert max(seen) - seen[0] < 50


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024
    except (OSError, StopIteration):
        return 0.0
