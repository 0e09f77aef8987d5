"""The run folder: the only module that knows the names inside it; it writes and reads them.

Every file is written whole or not at all (temporary file, fsync, rename); metrics.csv only grows by whole lines.
This module never imports TensorFlow.
"""

import contextlib
import csv
import errno
import hashlib
import io
import json
import logging
import os
import platform
import re
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import yaml

from dcgan_exp.config import Config, to_dict

RECORD = "run.json"
METRICS = "metrics.csv"
LOG = "run.log"
CURVES = "curves.png"
ANIMATION = "samples.gif"
SAMPLES = "samples"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"  # event files, where the run was tracked so
CHECKPOINT_SUFFIX = ".safetensors"
LOCK = ".lock"
DAMAGED_SUFFIX = ".damaged"
CHECKSUM, NO_CHECKSUM = "sha256", "0" * 64  # the field of run.json
CONFIG = Path(".hydra") / "config.yaml"
OVERRIDES = Path(".hydra") / "overrides.yaml"

MEASURES = ("d_loss", "g_loss", "d_accuracy", "d_accuracy_real", "d_accuracy_fake")  # in each row
SCORES = (  # in the rows at which the generator was scored: a data set has some of them
    "kernel_classifier_distance",
    "frechet_classifier_distance",
    "classifier_score",
    "density",
    "coverage",
    "rarest_class",
    "class_divergence",
    "random_feature_kernel_distance",
    "sliced_wasserstein_distance",
    "training_kernel_distance",
)
COLUMNS = ("iteration", "images_seen", *MEASURES, *SCORES, "seconds")
HEARTBEAT_SECONDS = 10
MOST_BYTES = 256_000_000  # of a file that is read
MOST_CHECKPOINT_BYTES = 16_000_000_000
MOST_CONFIG_BYTES = 1_000_000
MOST_REMEMBERED = 20_000  # scalars of configurations
MOST_ALIASES = 20  # of a configuration: each may repeat all before it, which grows beyond any memory
MOST_NESTING = 400  # levels of a configuration: LibYAML's own recursion overruns the C stack at some thousands
SILENT_SECONDS = 60  # a heartbeat older than this means that the process is gone

Status = Literal["running", "finished", "failed", "interrupted", "killed"]


class RunError(Exception):
    """A folder that can't be used as asked. Its text is one line."""


# Writing -----------------------------------------------------------------------------------------


def write_config(folder: Path, config: Config) -> None:
    """config.yaml, as a run's process reads it."""
    (folder / CONFIG).parent.mkdir(exist_ok=True)
    write_whole(folder / CONFIG, yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash at any instant, sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say it
        raise


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that takes `path`'s place when the block succeeds."""
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say it
        raise


def remove_orphans(folder: Path) -> None:
    """Remove the temporary files of processes that died while they wrote."""
    for place in (folder, folder / SAMPLES, folder / CHECKPOINTS):
        for path in place.glob(".*"):
            if re.fullmatch(r"\..+\.\d+\.tmp|\.\d+\.tmp\..+", path.name):
                path.unlink(missing_ok=True)


def sample_path(folder: Path, iteration: int) -> Path:
    """Where the grid of an iteration lies."""
    return folder / SAMPLES / f"{iteration:06d}.png"


def network_path(folder: Path, name: str) -> Path:
    """Where a saved network lies: `generator`, `discriminator`, ..."""
    return folder / f"{name}.keras"


def is_taken(folder: Path) -> bool:
    """Whether a folder holds a run, be it a damaged one."""
    return (folder / RECORD).exists() or bool(checkpoint_paths(folder))


def log_bytes(folder: Path) -> int:
    """How long run.log is."""
    return (folder / LOG).stat().st_size


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """Where the checkpoint of an iteration lies."""
    return folder / CHECKPOINTS / f"{iteration:08d}{CHECKPOINT_SUFFIX}"


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints, the newest first."""
    found = (folder / CHECKPOINTS).glob(f"*{CHECKPOINT_SUFFIX}")
    numbered = (path for path in found if re.fullmatch(r"[0-9]{8,15}", path.stem))
    return sorted(numbered, key=lambda path: int(path.stem), reverse=True)


class Recorder:
    """Keeps run.json and metrics.csv of one running experiment.

    A thread refreshes the heartbeat, so that a reader can tell a run that works from one that was killed.
    """

    def __init__(
        self,
        folder: Path,
        record: dict[str, Any],
        metrics: bytes | None = None,
        grids: dict[int, str] | None = None,
    ) -> None:
        self.folder = folder
        self.metrics = bytearray(metrics or (",".join(COLUMNS) + "\n").encode())
        self.grids = grids or {}  # SHA-256 by iteration
        self._record = record
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @classmethod
    def create(cls, folder: Path, config: Config) -> "Recorder":
        """Claim a folder for a new run. Raises RunError where it holds a run already."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if is_taken(folder):
                raise FileExistsError
            if not (folder / CONFIG).exists():  # before the folder is claimed: what is killed after that can be resumed
                write_config(folder, config)
            recorder = cls(folder, {"name": config.name, "status": "running", "iteration": 0, **this_process()})
            with open(folder / RECORD, "xb", buffering=0) as file:
                file.write(_encode(recorder.record))
        except FileExistsError:
            raise RunError(f"{folder} holds a run already; continue it with: dcgan-exp resume {folder}") from None
        (folder / SAMPLES).mkdir(exist_ok=True)
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        write_whole(folder / METRICS, bytes(recorder.metrics))
        recorder.start()
        return recorder

    def start(self, **facts: Any) -> None:
        """Take the run over: this process, this host, this instant; then keep the heartbeat."""
        self.update(status="running", reason=None, **{**_process_facts(), **facts})
        self._thread.start()

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says, or will at the next heartbeat."""
        with self._lock:
            return dict(self._record)

    def check(self) -> None:
        """Raises RunError where the folder is gone."""
        if not self.folder.is_dir():
            raise RunError(f"{self.folder} was removed while the run was working")

    def update(self, **facts: Any) -> None:
        """Merge facts into run.json and write it."""
        with self._lock:
            self._record.update(facts, heartbeat=time.time())
            write_record(self.folder, self._record)

    def note(self, **facts: Any) -> None:
        """Merge facts into run.json; the next heartbeat writes them."""
        with self._lock:
            self._record.update(facts)

    def append(self, row: dict[str, float]) -> None:
        """Add one row to metrics.csv, under the header that it has: an earlier version's may be shorter."""
        columns = self.metrics.partition(b"\n")[0].decode(errors="replace").split(",")
        line = ",".join(_format(row.get(column)) for column in columns) + "\n"  # missing ones stay empty
        with open(self.folder / METRICS, "ab", buffering=0) as file:
            if file.write(line.encode()) != len(line.encode()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / METRICS))
            os.fsync(file.fileno())
        self.metrics += line.encode()

    def write_grid(self, iteration: int, png: bytes) -> None:
        """Write the grid of an iteration."""
        write_whole(sample_path(self.folder, iteration), png)
        self.grids[iteration] = hashlib.sha256(png).hexdigest()

    def close(self, status: Status, reason: str | None = None, **facts: Any) -> None:
        """Write the run's end, as well as the disk allows."""
        self._closed.set()
        self._thread.join()
        try:
            self.update(status=status, reason=reason, ended=_now(), **facts)
        except OSError:
            with contextlib.suppress(OSError):
                self._overwrite()

    def _overwrite(self) -> None:
        # In place, which a full disk allows; a crash meanwhile costs no more than this file.
        content = _encode(self.record)
        with open(self.folder / RECORD, "r+b", buffering=0) as file:
            file.write(content)
            file.truncate(len(content))

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk must not end the thread: it may be freed
                self.update()


def amend(folder: Path, **facts: Any) -> None:
    """Correct run.json from outside, once the process that wrote it has ended or could not write it."""
    try:
        record = read(folder).record
    except RunError:
        record = {"name": None, "iteration": 0, **_process_facts()}
    write_record(folder, {**record, **facts, "ended": record.get("ended") or _now()})


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write run.json."""
    write_whole(folder / RECORD, _encode(record))


def _encode(record: dict[str, Any]) -> bytes:
    """run.json's bytes: the record and, last, their SHA-256 with zeros in its place."""
    facts = {name: value for name, value in record.items() if name != CHECKSUM}
    content = json.dumps({**facts, CHECKSUM: NO_CHECKSUM}, indent=2, ensure_ascii=False).encode()
    start, _, end = content.rpartition(NO_CHECKSUM.encode())
    return start + hashlib.sha256(content).hexdigest().encode() + end


def intact_record(folder: Path) -> dict[str, Any]:
    """run.json, where no bit of it has changed since it was written. Raises RunError."""
    record = read(folder).record
    content, checksum = read_file(folder / RECORD, MOST_BYTES), str(record.get(CHECKSUM, "none"))
    start, _, end = content.rpartition(checksum.encode())
    if hashlib.sha256(start + NO_CHECKSUM.encode() + end).hexdigest() != checksum:
        raise RunError(f"{folder / RECORD} is damaged: its checksum differs")
    del record[CHECKSUM]
    return record


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else repr(round(float(value), 6))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _process_facts() -> dict[str, Any]:
    return {
        "started": _now(),
        "ended": None,
        **this_process(),
        "versions": versions(),
        "git_commit": _git_commit(),
    }


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    names = ("dcgan-exp", "tensorflow", "keras", "numpy", "hydra-core")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def this_process() -> dict[str, Any]:
    """What names this process among all of all hosts."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_start": process_start(os.getpid())}


def process_start(pid: int) -> str | None:
    """When a process of this host started, in clock ticks since boot; null where there is none, or it has ended.

    Together with the pid it names one process, even when the pid is used again.
    """
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if facts[0] in "ZX" else facts[19]  # a zombie waits only for its parent to notice
    except OSError:
        return None


def _git_commit() -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
        return done.stdout.strip()
    return None


@contextlib.contextmanager
def logging_to(folder: Path) -> Iterator[logging.Logger]:
    """The run's logger, whose records go to run.log."""
    handler = _LogFile(folder / LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("dcgan_exp")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """On a full disk a line is lost, not the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Say nothing: what fails for the log fails for what matters too, and is told there."""


# Reading -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself, whatever state it is in."""

    folder: Path
    record: dict[str, Any]

    @property
    def status(self) -> Status:
        """From the folder alone: a silent or vanished process that never wrote its end was killed."""
        status: Status = self.record.get("status", "killed")
        if status != "running":
            return status if status in get_args(Status) else "killed"
        try:
            if self.record.get("host") == socket.gethostname():
                alive = process_start(int(self.record.get("pid", -1))) == self.record.get("process_start")
                return "running" if alive and self.record.get("process_start") else "killed"
            silent = abs(time.time() - float(self.record.get("heartbeat", 0)))  # a clock may have been set back
            return "running" if silent < SILENT_SECONDS else "killed"
        except (TypeError, ValueError):  # a damaged record
            return "killed"

    def config(self) -> dict[str, Any]:
        """The composed configuration, as plain nested values. Raises RunError."""
        path = self.folder / CONFIG
        try:
            text = read_file(path, MOST_CONFIG_BYTES).decode()
            if text.count("[") + text.count("{") > MOST_NESTING or re.search(rf"(?m)^[ \t?:-]{{{MOST_NESTING}}}", text):
                raise ValueError("it is nested too deeply")
            if len(re.findall(r"(?<![^\s,\[{:-])\*\w", text)) > MOST_ALIASES:
                raise ValueError("it repeats itself too often")
            values = _load_yaml(text)
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise RunError(f"{path} can't be read: {str(error).partition(chr(10))[0]}") from error
        if not isinstance(values, dict):
            raise RunError(f"{path} holds no configuration")
        return values

    def metrics(self) -> dict[str, list[float | None]]:
        """The columns of metrics.csv; null where a row has no value. A half-written last line is left out."""
        return self.metrics_and_damage()[0]

    def metrics_and_damage(self) -> tuple[dict[str, list[float | None]], int]:
        """The columns of metrics.csv and how many damaged lines were left out.

        Raises OSError, ValueError, csv.Error.
        """
        text = read_file(self.folder / METRICS, MOST_BYTES).decode(errors="replace")
        whole, _, torn = text.rpartition("\n")
        rows = list(csv.reader(io.StringIO(whole.replace("\0", ""))))
        if not rows:
            return {}, bool(torn)
        good = [row for row in rows[1:] if len(row) == len(rows[0])]
        columns = {name: [_parse(row[i]) for row in good] for i, name in enumerate(rows[0])}
        return columns, len(rows) - 1 - len(good) + bool(torn)

    def last_row(self) -> dict[str, float]:
        """What the last whole row of metrics.csv holds; empty where there is none."""
        try:
            whole = read_file(self.folder / METRICS, MOST_BYTES).rpartition(b"\n")[0].decode(errors="replace")
        except (OSError, ValueError):
            return {}
        names = whole.partition("\n")[0].strip().split(",")
        rows = (row.strip().split(",") for row in reversed(whole.split("\n")[1:]))
        last = next((row for row in rows if len(row) == len(names)), [])
        return {name: value for name, cell in zip(names, last, strict=False) if (value := _parse(cell)) is not None}

    def planned_iterations(self) -> int | None:
        """The configuration's `iterations`, as a rule without the time that YAML takes; null where it can't be read."""
        with contextlib.suppress(OSError, ValueError, RunError):
            line = re.search(rb"(?m)^iterations: ([0-9]{1,15})$", read_file(self.folder / CONFIG, MOST_CONFIG_BYTES))
            found = int(line[1]) if line else self.config().get("iterations")
            return found if isinstance(found, int) else None
        return None

    def samples(self) -> dict[int, Path]:
        """The grids by iteration, in order."""
        paths = (self.folder / SAMPLES).glob("*.png")
        return dict(sorted((int(path.stem), path) for path in paths if path.stem.isdecimal() and len(path.stem) <= 15))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, with what it finds out about each plain scalar remembered: runs share most of theirs."""

    _tags: ClassVar[dict[tuple[Any, ...], str]] = {}
    _values: ClassVar[dict[tuple[str, str], Any]] = {}

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode:
            return str(super().resolve(kind, value, implicit))
        key = (value, implicit)
        if key not in self._tags:
            if len(self._tags) > MOST_REMEMBERED:
                self._tags.clear()
            self._tags[key] = super().resolve(kind, value, implicit)
        return self._tags[key]

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        key = (node.tag, node.value)
        if key not in self._values:
            if len(self._values) > MOST_REMEMBERED:
                self._values.clear()
            self._values[key] = super().construct_object(node, deep)
        return self._values[key]


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506  it is a safe loader


def read_file(path: Path, most_bytes: int) -> bytes:
    """Raises ValueError where it is no regular file (a pipe would never end) or too big, and OSError."""
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is not a file")
    if facts.st_size > most_bytes:
        raise ValueError(f"it has {facts.st_size} bytes, too many")
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def stamp(folder: Path) -> list[tuple[int, int, int]]:
    """(size, mtime in nanoseconds, inode) of what a run folder's reading depends on; zeros for what is absent."""
    found = []
    for name in (RECORD, METRICS, CONFIG):
        try:
            facts = os.stat(f"{folder}/{name}")
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((facts.st_size, facts.st_mtime_ns, facts.st_ino))
    return found


def _parse(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def read(folder: Path) -> Run:
    """Open a run folder for reading. Raises RunError where it is none or run.json is damaged."""
    path = folder / RECORD
    try:
        record = json.loads(read_file(path, MOST_BYTES))
    except FileNotFoundError:
        raise RunError(f"{folder} is not a run folder: it holds no {RECORD}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} can't be read: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(record, dict):
        raise RunError(f"{path} holds no record of a run")
    return Run(folder, record)
