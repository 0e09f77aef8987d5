"""What a person sees of a sweep: a line for each job that ends, how long it will take, and the table at the end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import rich.progress
from rich import box
from rich.table import Table
from rich.text import Text

from dcgan_exp import console, runs
from dcgan_exp.console import printable
from dcgan_exp.sweep_folders import RECORD, WAITING, Job, Sweep

POLL_SECONDS = 0.5
STYLES = {"finished": "green", "failed": "red", "killed": "red", "interrupted": "yellow"}


def has_ended(job: Job) -> bool:
    """Whether the job is over, however it went."""
    return job.status not in (WAITING, "running")


class Progress:
    """A thread that reads the sweep's record, whichever processes write it, and tells what is new."""

    def __init__(self, sweep: Sweep, is_to_end: Callable[[], bool]) -> None:
        self.sweep, self.is_to_end = sweep, is_to_end
        self.started = time.monotonic()
        self.ended = {job.number for job in sweep.jobs() if has_ended(job)}
        self.first = len(self.ended)
        self._running: set[int] = set()
        self._seen: tuple[int, int] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sweep progress", daemon=True)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(), rich.progress.TimeElapsedColumn(), rich.progress.TextColumn("ETA"),
            rich.progress.TextColumn("{task.fields[left]}"),
            console=console.console, disable=not console.console.is_terminal,
        )  # fmt: skip
        total = sweep.read()["total"]
        self._total = total or len(sweep.jobs())
        self._task = self._bar.add_task("sweep", total=self._total or None, completed=self.first, left="?")

    def start(self) -> None:
        """Say what begins, and watch."""
        console.say(f"sweep of {self._total or '?'} jobs: {self.sweep.folder}", "bold")
        self._bar.start()
        self._thread.start()

    def stop(self) -> None:
        """Tell the rest, and let go of the terminal."""
        self._closed.set()
        self._thread.join()
        self._bar.stop()

    def _watch(self) -> None:
        is_asked = False
        while not self._closed.wait(POLL_SECONDS):
            self._look()
            if not is_asked and self.is_to_end() and not self._running:
                is_asked = True
                os.kill(os.getpid(), signal.SIGINT)  # nothing runs any more: wake the launcher's wait
        self._look()

    def _look(self) -> None:
        """Tell what changed; nothing is read where nothing was written."""
        try:
            facts = os.stat(self.sweep.folder / RECORD)
            if (facts.st_mtime_ns, facts.st_ino) == self._seen:
                return
            self._seen = (facts.st_mtime_ns, facts.st_ino)
            jobs = self.sweep.jobs()
        except (OSError, runs.RunError):
            return
        self._running = {job.number for job in jobs if job.status == "running"}
        for job in jobs:
            if has_ended(job) and job.number not in self.ended:
                self.ended.add(job.number)
                console.say(self._line(job), STYLES.get(job.status, ""))
        told = ", ".join(job.folder for job in jobs if job.status == "running")
        left = console.duration(self._seconds_left()) if len(self.ended) > self.first else "?"
        self._bar.update(self._task, completed=len(self.ended), description=printable(told)[:60] or "sweep", left=left)

    def _seconds_left(self) -> float:
        done = len(self.ended) - self.first
        return (time.monotonic() - self.started) / done * max(self._total - len(self.ended), 0)

    def _line(self, job: Job) -> str:
        width = len(str(self._total))
        took = f" in {console.duration(job.seconds)}" if job.seconds is not None else ""
        why = f": {job.reason}" if job.reason else ""
        elapsed = console.duration(time.monotonic() - self.started)
        left = f", ETA {console.duration(self._seconds_left())}" if len(self.ended) < self._total else ""
        count = f"[{len(self.ended):{width}}/{self._total or '?'}]"
        return printable(f"{count} {job.folder} {job.status}{took}{why} (elapsed {elapsed}{left})")


def table(jobs: Sequence[Job], objectives: Sequence[float | None], record: dict[str, Any]) -> Table:
    """All jobs: what differs between them, how they ended, the best objective first."""
    keys = list(dict.fromkeys(_split(text)[0] for job in jobs for text in job.overrides))
    shown = Table(box=box.SIMPLE_HEAD)
    short = [key.rpartition(".")[2] for key in keys]
    names = [key if short.count(name) > 1 else name for key, name in zip(keys, short, strict=True)]
    for name in ("job", *names, "status", record["objective"], "seconds", "reason"):
        shown.add_column(printable(name), overflow="fold")
    ranked = sorted(
        zip(jobs, objectives, strict=True), key=lambda pair: _rank(pair[0], pair[1], record["is_maximised"])
    )
    for job, value in ranked:
        values = dict(_split(text) for text in job.overrides)
        status = "not started" if job.status == WAITING else job.status
        measured = "" if value is None else f"{value:.6g}"
        seconds = "" if job.seconds is None else f"{job.seconds:.1f}"
        cells = [str(job.number), *(values.get(key, "") for key in keys), status, measured, seconds, job.reason or ""]
        shown.add_row(*(Text(printable(cell)) for cell in cells), style=STYLES.get(job.status, ""))
    return shown


def _split(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.lstrip("+"), value


def _rank(job: Job, value: float | None, is_maximised: bool) -> tuple[Any, ...]:
    is_ranked = job.status == "finished" and value is not None and value == value  # noqa: PLR0124  not NaN
    return (not is_ranked, (-value if is_maximised else value) if is_ranked and value is not None else 0.0, job.number)
