"""The folder of a sweep: the only module that knows the names inside it; it writes and reads them.

sweep.json holds the plan, written before the first job starts, and what became of each job; sweep.csv the same as a
table. Many processes write them, on one machine or on more that share the folder: under a lock, whole or not at all.
This module never imports TensorFlow.
"""

import contextlib
import csv
import fcntl
import io
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from dcgan_exp import runs

RECORD = "sweep.json"
TABLE = "sweep.csv"
STATE = ".state"  # locks, the supervising process, and the mark that asks the sweep to end
SUPERVISOR = "supervisor.json"
REPLACED = ".replaced"  # folders of jobs that were started anew
CONTINUED = "continued"  # what Hydra writes when the sweep is continued
CLAIM_SECONDS = 90.0  # how long a job waits for an earlier process of its own to save and end
WAITING = "waiting"


@dataclass(frozen=True)
class Job:
    """One job of a sweep: the plan, then how it went."""

    number: int
    folder: str  # its name below the sweep's folder
    overrides: list[str]  # what differs between the jobs
    config: dict[str, Any]
    status: str = WAITING  # or a run's status
    reason: str | None = None
    seconds: float | None = None
    final: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)


class Sweep:
    """A sweep's folder and its record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, facts: dict[str, Any], jobs: Sequence[Job]) -> "Sweep":
        """Claim a folder for a new sweep. Raises RunError where it holds one, or a job's folder, already."""
        refusal = runs.RunError(f"{folder} holds a sweep already; continue it with: dcgan-exp resume {folder}")
        if (folder / RECORD).exists():
            raise refusal
        for job in jobs:
            if (folder / job.folder).exists():
                raise runs.RunError(f"{folder / job.folder} is there already; choose another hydra.sweep.dir")
        (folder / STATE).mkdir(parents=True, exist_ok=True)
        temporary = folder / STATE / f"{os.getpid()}.{RECORD}"
        runs.write_whole(temporary, _encode({**facts, "jobs": [asdict(job) for job in jobs]}))
        try:
            os.link(temporary, folder / RECORD)  # unlike a rename, it never replaces another's
        except FileExistsError:
            raise refusal from None
        finally:
            temporary.unlink()
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Sweep":
        """Raises RunError where the folder holds no sweep."""
        sweep = cls(folder)
        if not (folder / RECORD).is_file():
            raise runs.RunError(f"{folder} is not a sweep folder: it holds no {RECORD}")
        sweep.jobs()
        return sweep

    @classmethod
    def around(cls, folder: Path) -> "Sweep":
        """The sweep that a folder of Hydra's belongs to. Raises RunError."""
        return cls.open(next((f for f in (folder, *folder.parents) if (f / RECORD).exists()), folder))

    # The record

    def read(self) -> dict[str, Any]:
        """The whole record. Raises RunError where it is damaged."""
        path = self.folder / RECORD
        try:
            record = json.loads(path.read_bytes())
            if not isinstance(record, dict) or not isinstance(record["jobs"], list):
                raise ValueError("it holds no record of a sweep")
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise runs.RunError(f"{path} can't be read: {str(error).partition(chr(10))[0]}") from error
        return record

    def jobs(self) -> list[Job]:
        """All jobs known so far. Raises RunError where the record is damaged."""
        names = {f.name for f in fields(Job)}
        try:
            jobs = [Job(**{key: value for key, value in job.items() if key in names}) for job in self.read()["jobs"]]
        except (TypeError, AttributeError) as error:
            raise runs.RunError(f"{self.folder / RECORD} can't be read: a job's record is incomplete") from error
        for job in jobs:
            if not re.fullmatch(r"[0-9]+[A-Za-z0-9=._+-]*", job.folder):
                raise runs.RunError(f"{self.folder / RECORD} can't be used: {job.folder!r} is no folder's name")
        return jobs

    def find(self, name: str) -> Job | None:
        """The job with this folder."""
        return next((job for job in self.jobs() if job.folder == name), None)

    def path(self, job: Job) -> Path:
        """The job's run folder."""
        return self.folder / job.folder

    def status(self, job: Job) -> str:
        """What the job's run folder says now; it outlives whoever would have written the record."""
        try:
            return runs.read(self.path(job)).status
        except runs.RunError:
            return WAITING if job.status in (WAITING, "running") else job.status

    def add(self, job: Job) -> None:
        """Record a job that the plan could not know."""
        with self._changing() as record:
            record["jobs"].append(asdict(job))

    def update(self, number: int, **facts: Any) -> None:
        """Record how a job goes."""
        with self._changing() as record:
            next(job for job in record["jobs"] if job["number"] == number).update(facts)

    def plan_again(self, left: Sequence[Job], now: str) -> None:
        """Note that the sweep is continued, with these jobs."""
        numbers = {job.number for job in left}
        with self._changing() as record:
            record["continued"] = [*record.get("continued", []), now]
            for job in record["jobs"]:
                if job["number"] in numbers:
                    job.update(status=WAITING, reason=None)

    def supervise(self) -> None:
        """Record this process as the one whose end stops the jobs."""
        process = {"host": socket.gethostname(), "pid": os.getpid(), "process_start": runs.process_start(os.getpid())}
        runs.write_whole(self.folder / STATE / SUPERVISOR, _encode(process))
        (self.folder / STATE / "stop").unlink(missing_ok=True)

    def supervisor(self) -> dict[str, Any]:
        """The process that runs the sweep, or ran it last."""
        try:
            process = json.loads((self.folder / STATE / SUPERVISOR).read_bytes())
        except (OSError, ValueError):
            return {}
        return process if isinstance(process, dict) else {}

    def refresh(self) -> None:
        """Bring the record up to what the run folders say, whoever died before writing it."""
        with self._changing() as record:
            for entry, job in zip(record["jobs"], self.jobs(), strict=True):
                entry.update(self.outcome(job))

    def outcome(self, job: Job) -> dict[str, Any]:
        """How the job went, from its run folder."""
        try:
            run = runs.read(self.path(job))
        except runs.RunError:
            return {"status": self.status(job)}
        measures = {key: run.record.get(key) or {} for key in ("final", "best")}
        return {"status": run.status, "reason": run.record.get("reason"), **measures}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        with self._lock("record") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            record = self.read()
            yield record
            runs.write_whole(self.folder / RECORD, _encode(record))
            runs.write_whole(self.folder / TABLE, _table(record["jobs"], self.folder))

    # Who may do what

    def _lock(self, name: str) -> IO[bytes]:
        (self.folder / STATE).mkdir(exist_ok=True)
        return open(self.folder / STATE / f"{name}.lock", "ab")

    @contextlib.contextmanager
    def only_supervisor(self) -> Iterator[None]:
        """Raises RunError while another process runs the sweep."""
        with self._lock("supervisor") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = self.supervisor()
                raise runs.RunError(
                    f"{self.folder} is running: process {other.get('pid')} on {other.get('host')}"
                ) from None
            yield

    @contextlib.contextmanager
    def claim(self, job: Job) -> Iterator[int]:
        """The right to run the job, as an open file that its process inherits, so that it outlives this one.

        Raises RunError where an earlier process of the job does not end.
        """
        with self._lock(f"job-{job.number}") as file:
            deadline = time.monotonic() + CLAIM_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise runs.RunError(f"{self.path(job)} is still written by an earlier process") from None
                    time.sleep(0.2)
            yield file.fileno()

    def stop(self) -> None:
        """Ask all jobs of the sweep, wherever they run, to end."""
        (self.folder / STATE / "stop").touch()

    def is_stopping(self) -> bool:
        """Whether the sweep was asked to end, or the process that runs it is gone."""
        return (self.folder / STATE / "stop").exists() or self.is_abandoned()

    def is_abandoned(self) -> bool:
        """Whether the process that runs the sweep was on this machine and is gone."""
        process = self.supervisor()
        is_here = process.get("host") == socket.gethostname()  # of another machine's processes nothing is known
        return is_here and runs.process_start(int(process["pid"])) != process["process_start"]

    def set_aside(self, job: Job) -> None:
        """Move a job's folder out of the way of a new start; nothing is deleted."""
        kept = self.folder / REPLACED
        kept.mkdir(exist_ok=True)
        number = next(n for n in range(1, 10_000) if not (kept / f"{job.folder}-{n}").exists())
        os.rename(self.path(job), kept / f"{job.folder}-{number}")


def _encode(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=1, ensure_ascii=False).encode()


def _table(jobs: list[dict[str, Any]], folder: Path) -> bytes:
    plain = ("number", "status", "reason", "seconds")
    measures = {f"{kind}.{name}": None for kind in ("final", "best") for job in jobs for name in job.get(kind, {})}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, "overrides", "folder", *measures])
    for job in jobs:
        values = [_measure(job, *name.split(".", 1)) for name in measures]
        writer.writerow([*(job.get(k) for k in plain), " ".join(job["overrides"]), folder / job["folder"], *values])
    return text.getvalue().encode()


def _measure(job: dict[str, Any], kind: str, name: str) -> Any:
    value = job.get(kind, {}).get(name)
    return value.get("value") if isinstance(value, dict) else value
