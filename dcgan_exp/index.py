"""Many run folders at once: found below any paths, read, and remembered in the user's cache folder.

What is remembered is keyed by size, time and inode of the files it came from and is never trusted when they differ.
The cache may be deleted at any time; where it can't be written there is none. Nothing is written in a run folder.
"""

import contextlib
import csv
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import dcgan_exp
from dcgan_exp import diagnosis, runs
from dcgan_exp.glances import MOST_NUMBER, find_each, natural, whole_number
from dcgan_exp.user_cache import cache_folder

FORMAT = 1
SETTLED_SECONDS = 2.0  # a file younger than this may change again within the resolution of its time
MOST_KEYS = 2000  # of a configuration; YAML's aliases can make a small file endless
MOST_CHARACTERS = 500  # of a value
RECORD_FIELDS = (
    "name", "status", "reason", "heartbeat", "iteration", "started", "ended", "seconds", "host", "pid",
    "process_start", "versions", "git_commit", "threads", "data", "parameters", "yardstick",
)  # fmt: skip
CLOCKS = ("iteration", "images_seen", "seconds")  # the columns of metrics.csv that measure nothing
LOWER_IS_BETTER = re.compile("loss|distance|divergence")
HIGHER_IS_BETTER = re.compile("score|density|coverage|precision|recall|rarest_class")


@dataclass
class Entry:
    """What a table needs of one run; its curves and grids stay in the folder."""

    folder: Path
    record: dict[str, Any]
    config: dict[str, Any]  # dotted keys
    final: dict[str, float]
    best: dict[str, tuple[float, int]]  # metric -> value, iteration
    diagnosis: dict[str, int]  # -> iteration of onset
    problems: list[str] = field(default_factory=list)

    @property
    def run(self) -> runs.Run:
        """The folder itself."""
        return runs.Run(self.folder, self.record)


def direction(metric: str) -> int:
    """-1 where a lower value of the metric is better, 1 where a higher one is, 0 where neither."""
    if LOWER_IS_BETTER.search(metric):
        return -1
    return 1 if HIGHER_IS_BETTER.search(metric) else 0


def read_all(paths: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """The runs at and below the paths, each once, in natural order; and a line for each thing left out."""
    entries: list[Entry] = []
    left_out: list[str] = []
    caches = {path: Cache(path) for path in paths}
    for path, folder in find_each(paths, left_out):
        try:
            entries.append(caches[path].entry(folder))
        except runs.RunError as error:
            left_out.append(f"left out: {error}")
    for cache in caches.values():
        cache.save()
    found = sorted(entries, key=lambda entry: natural(str(entry.folder)))
    left_out += [problem for entry in found for problem in entry.problems]
    return found, left_out


# The cache ---------------------------------------------------------------------------------------


class Cache:
    """The entries of one path, as they were when it was last read."""

    def __init__(self, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(os.path.abspath(root))).hexdigest()[:32]
        self.path = cache_folder() / f"runs-{name}.json"
        self._old = self._load()
        self._new: dict[str, Any] = {}
        self._changed = False

    def entry(self, folder: Path) -> Entry:
        """The folder's entry, remembered or read. Raises RunError."""
        key = os.path.abspath(folder)
        stamps = runs.stamp(folder)
        remembered = self._old.get(key)
        if remembered is not None:
            with contextlib.suppress(TypeError, ValueError, KeyError, IndexError, AttributeError):
                if [tuple(stamp) for stamp in remembered["stamps"]] == stamps:
                    self._new[key] = remembered
                    return _unpacked(folder, remembered["entry"])
        entry = read_entry(folder)
        newest = max(mtime for _, mtime, _ in stamps)
        if newest < (time.time() - SETTLED_SECONDS) * 1e9:
            self._new[key] = {"stamps": stamps, "entry": _packed(entry)}
            self._changed = True
        return entry

    def save(self) -> None:
        """Write what changed; not being able to is no error."""
        if not self._changed and len(self._new) == len(self._old):
            return
        content = json.dumps({"format": FORMAT, "version": dcgan_exp.__version__, "entries": self._new})
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            runs.write_whole(self.path, content.encode())

    def _load(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_bytes())
            if content["format"] == FORMAT and content["version"] == dcgan_exp.__version__:
                return dict(content["entries"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            pass
        return {}


def _packed(entry: Entry) -> dict[str, Any]:
    return {item.name: getattr(entry, item.name) for item in fields(Entry) if item.name != "folder"}


def _unpacked(folder: Path, values: dict[str, Any]) -> Entry:
    entry = Entry(folder=folder, **values)
    entry.best = {metric: (value, iteration) for metric, (value, iteration) in entry.best.items()}
    return entry


# One folder --------------------------------------------------------------------------------------


def read_entry(folder: Path) -> Entry:
    """Read a run folder whole. Raises RunError where it can't be compared."""
    run = runs.read(folder)
    record = {name: _plain(run.record[name]) for name in RECORD_FIELDS if name in run.record}
    config = flat_config(run)
    problems = []
    metrics: dict[str, list[float | None]] = {}
    try:
        metrics, damaged = run.metrics_and_damage()
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"{folder}: its metrics can't be read: {str(error).partition(chr(10))[0]}")
    else:
        if damaged and run.status != "running":
            problems.append(f"{folder}: {damaged} damaged or half-written lines of its metrics were left out")
    iterations = [int(value or 0) if abs(value or 0) < MOST_NUMBER else 0 for value in metrics.get("iteration", ())]
    # The record's is refreshed with the heartbeat only: a running or killed run may have a later row.
    record["iteration"] = max([whole_number(record.get("iteration"), default=0), *iterations[-1:]])
    if not isinstance(record.get("seconds"), int | float):  # absent, or too odd to be a number
        record["seconds"] = next((value for value in reversed(metrics.get("seconds", ())) if value is not None), None)
    final, best = _final(run.record, metrics), _best(run.record, metrics, iterations)
    return Entry(folder, record, config, final, best, diagnosis.of_metrics(record, metrics), problems)


def flat_config(run: runs.Run) -> dict[str, Any]:
    """The configuration as dotted keys and plain values. Raises RunError."""
    found: dict[str, Any] = {}
    pending: list[tuple[str, Any]] = [("", run.config())]
    while pending:
        prefix, values = pending.pop(0)
        for key, value in values.items():
            if len(found) + len(pending) > MOST_KEYS or len(prefix) > MOST_CHARACTERS:
                raise runs.RunError(f"{run.folder}: its configuration has more than {MOST_KEYS} keys")
            name = f"{prefix}{key if isinstance(key, str) else _plain(key)}"
            if isinstance(value, dict):
                pending.append((name + ".", value))
            else:
                found[name] = _plain(value)
    return found


def _plain(value: Any, depth: int = 3) -> Any:
    """A value that JSON holds; anything deep, long or odd becomes short text."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < MOST_NUMBER else "<a huge number>"
    if isinstance(value, str):
        return value[:MOST_CHARACTERS]
    if depth and isinstance(value, list | tuple) and len(value) <= 100:
        return [_plain(item, depth - 1) for item in value]
    if depth and isinstance(value, dict) and len(value) <= 100:
        return {str(key)[:MOST_CHARACTERS]: _plain(item, depth - 1) for key, item in value.items()}
    return f"<{type(value).__name__}>"


def _final(record: Mapping[str, Any], metrics: diagnosis.Columns) -> dict[str, float]:
    """The last value of each metric."""
    found = {
        name: value
        for name, column in metrics.items()
        if name not in CLOCKS
        and (value := next((value for value in reversed(column) if value is not None), None)) is not None
    }
    return found | _numbers(record.get("final"))


def _best(
    record: Mapping[str, Any], metrics: diagnosis.Columns, iterations: Sequence[int]
) -> dict[str, tuple[float, int]]:
    """The best finite value of each metric that has a better direction, and where it was."""
    recorded = record.get("best")
    numbers = _numbers(recorded)
    where = whole_number(recorded.get("iteration"), 0) if isinstance(recorded, dict) else 0
    kept = {name: (value, where) for name, value in numbers.items() if direction(name)}
    found = {}
    for name, column in metrics.items():
        sign = direction(name)
        pairs = zip(column, iterations, strict=True)
        finite = [(value, at) for value, at in pairs if value is not None and math.isfinite(value)]
        if sign and finite:
            found[name] = max(finite, key=lambda pair: (sign * pair[0], -pair[1]))
    return found | kept  # the kept generator's scores: it was chosen without the test images


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    pairs = ((str(name), value) for name, value in values.items() if name not in CLOCKS)
    kept = {name: value for name, value in pairs if isinstance(value, int | float) and not isinstance(value, bool)}
    return {name: value for name, value in kept.items() if isinstance(value, float) or abs(value) < MOST_NUMBER}


def common_folder(folders: Iterable[Path]) -> str:
    """The folder that all others lie in, as text."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(folder)) for folder in folders])
