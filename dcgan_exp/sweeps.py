"""A sweep from its plan to its table: many runs from one command, none lost.

Hydra's sweeper and launcher say what runs where; this module plans it beforehand and watches it.
It never imports TensorFlow.
"""

import contextlib
import math
import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dcgan_exp import combinations, console, jobs, runs
from dcgan_exp.config import Config, flatten, objective_of, to_dict
from dcgan_exp.sweep_folders import Job, Sweep
from dcgan_exp.sweep_progress import Progress, table

FINISHED, FAILED, INTERRUPTED = 0, 1, 130
PLAIN_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
PLAIN_VALUE = re.compile(r"-?[A-Za-z0-9][A-Za-z0-9_.-]*")
_runs_jobs_here = threading.Event()  # set where Hydra's launcher runs the jobs in the sweep's own process


def register_resolver() -> None:
    """Let conf/ name the folders of a sweep's jobs, in whatever process a launcher works."""
    OmegaConf.register_new_resolver("job_folder", _job_folder, replace=True)


def _job_folder(sweep_folder: str, number: int | None, overrides: Sequence[str]) -> str:
    if number is None:
        return "job"
    try:
        record = Sweep.around(Path(sweep_folder)).read()
    except runs.RunError:  # only shown, not run: python run.py --cfg hydra
        return combinations.folder_name(number, 0, [])
    planned = {job["number"]: job["folder"] for job in record["jobs"]}
    name = planned.get(number)
    return str(name or combinations.folder_name(number, record["total"] or 0, _changed(record, overrides)))


def _changed(record: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    return combinations.spell_out([text for text in overrides if text not in record["fixed"]], record["pairs"])


# Start -------------------------------------------------------------------------------------------


def create(folder: Path, plan: combinations.Plan) -> Sweep:
    """Write down everything that the sweep is going to do. Raises RunError where the folder is taken."""
    count = len(plan.combinations) if plan.is_known else int(plan.hydra.sweeper.get("n_trials") or 0)
    threads = fair_threads(plan.hydra.launcher, count)
    names = [combinations.folder_name(n, count, c.changed) for n, c in enumerate(plan.combinations)]
    planned = [
        Job(number, names[number], combination.changed, to_dict(with_threads(combination.config, threads)))
        for number, combination in enumerate(plan.combinations)
    ]
    facts = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "overrides": plan.overrides,
        "launcher": {"choice": plan.hydra.runtime.choices["hydra/launcher"], "settings": launcher_settings(plan.hydra)},
        "fixed": plan.fixed,
        "pairs": plan.pairs,
        "objective": objective_of(plan.combinations[0].config),
        "is_maximised": is_maximised(plan.hydra.sweeper),
        "threads": threads,
        "total": count or None,
    }
    return Sweep.create(folder, facts, planned if plan.is_known else [])


def launcher_settings(settings: DictConfig) -> dict[str, str]:
    """What of the launcher's settings is plain words, so that a sweep that is continued can take it from its record."""
    values = OmegaConf.to_container(settings.launcher, resolve=True)
    assert isinstance(values, dict)
    return {key: str(value) for key, value in flatten(values) if value is not None and is_plain(key, str(value))}


def is_plain(key: str, value: str) -> bool:
    """Whether a setting from a record, perhaps a stranger's, is harmless: no code, no shell line, no address."""
    return bool(PLAIN_KEY.fullmatch(key) and PLAIN_VALUE.fullmatch(value))


def fair_threads(launcher: DictConfig, count: int) -> int:
    """Processor threads for each of the jobs that run side by side; 0 where each has the machine to itself."""
    cores, target = len(os.sched_getaffinity(0)), launcher._target_
    if "joblib" in target:
        wanted = int(launcher.get("n_jobs") or 1)
        side_by_side = min(cores + 1 + wanted if wanted < 0 else wanted, count or wanted)
        return max(1, cores // max(side_by_side, 1)) if side_by_side > 1 else 0
    if "submitit" in target:
        return int(launcher.get("cpus_per_task") or 1)
    if "ray" in target:
        return max(1, int((launcher.ray.get("remote") or {}).get("num_cpus") or 1))
    return 0


def with_threads(config: Config, threads: int) -> Config:
    """The configuration with its share of threads, where it names none."""
    config.threads = config.threads or threads
    return config


def is_maximised(sweeper: DictConfig) -> bool:
    """Whether the sweeper looks for the largest objective."""
    return str(sweeper.get("direction") or "").rpartition(".")[2].lower() == "maximize"


# One job, wherever the launcher runs it ----------------------------------------------------------


def run_job(config: Config, folder: Path) -> float:
    """Run a job in a process of its own, whatever becomes of it. Returns the objective, the worst where there is none.

    Raises KeyboardInterrupt in the sweep's own process when the sweep is to end.
    """
    sweep = Sweep.around(Path(HydraConfig.get().sweep.dir).absolute())
    record = sweep.read()
    is_own_process = sweep.supervisor().get("pid") == os.getpid()
    if is_own_process:
        _runs_jobs_here.set()
    elif threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a launcher's worker through the sweep
    name = Path(os.path.normpath(folder)).name
    job = sweep.find(name) or _add(sweep, record, config, name)
    if not sweep.is_stopping():
        try:
            jobs.run(sweep, job, is_continued="continued" in record)
        except Exception as error:  # a full disk, a folder without permission: the others may fare better
            console.fail(f"{name}: {error}")
            with contextlib.suppress(OSError, runs.RunError):
                sweep.update(job.number, status="failed", reason=f"{type(error).__name__}: {error}")
    if is_own_process and sweep.is_stopping():
        raise KeyboardInterrupt
    return objective(sweep.find(name) or job, record)


def _add(sweep: Sweep, record: dict[str, Any], config: Config, name: str) -> Job:
    hydra_config = HydraConfig.get()
    changed = _changed(record, hydra_config.overrides.task)
    job = Job(int(hydra_config.job.num), name, changed, to_dict(with_threads(config, record["threads"])))
    sweep.add(job)
    return job


def objective(job: Job, record: dict[str, Any]) -> float:
    """The job's value of what the sweep minimises, or maximises; the worst of all where it has none."""
    worst = -math.inf if record["is_maximised"] else math.inf
    value = measure(job, record["objective"]) if job.status == "finished" else None
    return worst if value is None or math.isnan(value) else value


def measure(job: Job, name: str) -> float | None:
    """`g_loss` is the last value of a metric, `best.g_loss` its best."""
    kind, _, rest = name.partition(".")
    value = job.best.get(rest) if kind == "best" else job.final.get(name)
    value = value.get("value") if isinstance(value, dict) else value
    return None if value is None else float(value)


# Watch -------------------------------------------------------------------------------------------


class Interruption:
    """The first Ctrl-C lets the jobs that run save and end; the second ends this process."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.is_asked = self.is_over = False

    def __call__(self, number: int, _frame: object = None) -> None:
        """The signal handler."""
        if self.is_over:
            return
        if self.is_asked:
            self.is_over = True
            raise KeyboardInterrupt
        self.is_asked = True
        self.sweep.stop()
        console.say(f"{signal.Signals(number).name}: the running jobs save and end; once more ends this process")


def supervise(main: Callable[[], object], sweep: Sweep) -> int:
    """Let Hydra run the jobs, show how they go, and end with a table of all. Returns the exit code."""
    with sweep.only_supervisor():
        sweep.supervise()
        interruption = Interruption(sweep)
        progress = Progress(sweep, lambda: interruption.is_asked and not _runs_jobs_here.is_set())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interruption)
        is_interrupted, failure = False, None
        progress.start()
        try:
            main()
        except (KeyboardInterrupt, SystemExit):
            is_interrupted = True
        except Exception as error:  # a pool that broke, a cluster out of reach: the table says what was not run
            failure = f"{type(error).__name__}: {error}".partition("\n")[0]
        interruption.is_over = True
        progress.stop()
        sweep.refresh()
        done, record = sweep.jobs(), sweep.read()
        if not console.console.is_terminal:
            console.console.width = 10_000  # a pipe has no edge at which a row would have to break
        console.console.print(table(done, [measure(job, record["objective"]) for job in done], record), soft_wrap=False)
        return _tell_end(sweep, done, failure, is_interrupted or interruption.is_asked)


def _tell_end(sweep: Sweep, done: Sequence[Job], failure: str | None, is_interrupted: bool) -> int:
    count = sum(job.status == "finished" for job in done)
    console.say(f"{count} of {len(done)} finished: {sweep.folder}", "bold")
    if count < len(done):
        console.say(f"continue it with: python -m dcgan_exp resume {sweep.folder}")
    if is_interrupted:
        return INTERRUPTED
    if failure:
        console.fail(failure)
    return FAILED if failure or count < len(done) or not done else FINISHED
