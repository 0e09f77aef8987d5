"""One job of a sweep, in a process of its own: whatever becomes of that process, the sweep goes on.

The launcher's process starts it with plain values and waits; the job's process watches the one that started it, and
the sweep's, and ends as if by SIGTERM when one is gone. This module never imports TensorFlow at module level.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

import yaml

from dcgan_exp import console, data, runs
from dcgan_exp.config import from_yaml
from dcgan_exp.sweep_folders import Job, Sweep

POLL_SECONDS = 0.25
GRACE_SECONDS = 15.0  # between asking a job to end and killing it
CONTINUABLE = ("interrupted", "killed")  # from the last checkpoint; what failed is started anew
MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")


# In the launcher's process -----------------------------------------------------------------------


def run(sweep: Sweep, job: Job, is_continued: bool) -> None:
    """Run the job to its end and record how it went. Raises RunError where its folder can't be used."""
    folder = sweep.path(job)
    with sweep.claim(job) as claim:
        if sweep.status(job) == "finished":
            return
        prepare(sweep, job, is_continued)
        sweep.update(job.number, status="running", reason=None)
        started, kills = time.monotonic(), _memory_kills()
        command = [sys.executable, "-m", "dcgan_exp.jobs", str(folder), str(sweep.folder), str(os.getpid())]
        with open(folder / runs.LOG, "ab") as log:
            process = subprocess.Popen(  # noqa: S603  this very Python
                [*command, *(["--continue"] if is_continued and (folder / runs.RECORD).exists() else [])],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                start_new_session=True,  # Ctrl-C reaches it only through its sweep
                pass_fds=(claim,),
            )  # fmt: skip
        is_late = _wait(process, sweep, job.config.get("job_timeout"))
        _settle(folder, process.returncode, job.config["job_timeout"] if is_late else None, _memory_kills() > kills)
        sweep.update(job.number, seconds=round(time.monotonic() - started, 3), **sweep.outcome(job))


def prepare(sweep: Sweep, job: Job, is_continued: bool) -> None:
    """Make the job's folder ready: its resolved configuration, what it differs in, and no earlier start."""
    folder = sweep.path(job)
    if (folder / runs.RECORD).exists() and not (is_continued and sweep.status(job) in CONTINUABLE):
        sweep.set_aside(job)
    (folder / runs.CONFIG).parent.mkdir(parents=True, exist_ok=True)
    runs.write_whole(folder / runs.CONFIG, yaml.safe_dump(job.config, sort_keys=False, allow_unicode=True).encode())
    overrides = [*sweep.read()["fixed"], *job.overrides]
    runs.write_whole(folder / runs.OVERRIDES, yaml.safe_dump(overrides, allow_unicode=True).encode())


def _wait(process: subprocess.Popen[bytes], sweep: Sweep, timeout: float | None) -> bool:
    """Wait for the job's end; bring it about when the sweep stops or time is up. True where time was up."""
    deadline = time.monotonic() + timeout if timeout else float("inf")
    asked: float | None = None
    is_late = False
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return is_late
        now = time.monotonic()
        if asked is None and (now > deadline or sweep.is_stopping()):
            is_late, asked = now > deadline, now
            process.send_signal(signal.SIGTERM if is_late else signal.SIGINT)
        elif asked is not None and now > asked + GRACE_SECONDS:
            process.kill()


def _settle(folder: Path, code: int, exceeded: float | None, is_out_of_memory: bool) -> None:
    """Let run.json say how a job ended that could not say so itself."""
    try:
        status = runs.read(folder).record.get("status")
    except runs.RunError:
        status = None
    if exceeded is not None and status != "finished":
        runs.amend(folder, status="killed", reason=f"timed out: job_timeout={exceeded:g} seconds")
    elif status not in (None, "running"):
        return
    elif code < 0:
        name = signal.Signals(-code).name
        runs.amend(folder, status="killed", reason=f"{name}: out of memory" if is_out_of_memory else name)
    else:
        runs.amend(folder, status="failed", reason=f"the process ended with exit code {code}")


def _memory_kills() -> int:
    """How many processes of this container the kernel has killed for memory."""
    with contextlib.suppress(OSError, ValueError):
        lines = dict(line.split() for line in MEMORY_EVENTS.read_text().splitlines())
        return int(lines.get("oom_kill", 0))
    return 0


# In the job's own process ------------------------------------------------------------------------


class StoppedError(BaseException):
    """The job was asked to end before its training listened for it."""


def main() -> NoReturn:
    """Train in the folder that the command line names, as its configuration says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("launcher", type=int)
    parser.add_argument("--continue", dest="is_continued", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    threading.Thread(target=_watch, args=(Sweep(options.sweep), options.launcher), daemon=True).start()
    sys.exit(0 if body(options.folder, options.is_continued) else 1)


def _stop(number: int, _frame: object) -> NoReturn:
    raise StoppedError("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)


def _watch(sweep: Sweep, launcher: int) -> None:
    """End this process, as if by SIGTERM, when there is nobody left who waits for it."""
    while os.getppid() == launcher and not sweep.is_abandoned():
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def body(folder: Path, is_continued: bool) -> bool:
    """Train, and see that run.json tells every end. True where the run finished."""
    try:
        return _train(folder, is_continued) == "finished"
    except StoppedError as stop:
        runs.amend(folder, status="interrupted", reason=str(stop))
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if _is_out_of_memory(error):
            runs.amend(folder, status="killed", reason=f"out of memory: {reason}")
        elif is_continued or not _is_recorded(folder):
            with runs.logging_to(folder) as log:
                log.error("%s", traceback.format_exc().rstrip())
            runs.amend(folder, status="failed", reason=reason)
    return False


def _train(folder: Path, is_continued: bool) -> runs.Status:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with console.native_noise_silenced():
        from dcgan_exp import resuming, training

    if is_continued:
        return resuming.resume(folder).status
    config = from_yaml((folder / runs.CONFIG).read_text())
    return training.train(config, data.load(config.data), folder).status


def _is_recorded(folder: Path) -> bool:
    with contextlib.suppress(runs.RunError):
        return runs.read(folder).record.get("status") not in (None, "running")
    return False


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ in ("ResourceExhaustedError", "InternalOutOfMemory")


if __name__ == "__main__":
    main()
