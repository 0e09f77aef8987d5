"""Runs below any paths, and what a line about each needs, read so quickly that nothing has to be remembered."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan_exp import runs

MOST_NUMBER = 2**53  # beyond it a whole number is no longer exact as a float, nor in JavaScript


@dataclass(frozen=True)
class Glance:
    """A run at a glance."""

    run: runs.Run
    iteration: int
    iterations: int | None  # that it is to make
    seconds: float | None
    losses: list[float | None]  # of D and G, and D's accuracy in percent

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder


def read_all(paths: Sequence[Path]) -> tuple[list[Glance], list[str]]:
    """The runs at and below the paths, each once, in natural order; and a line for each thing left out."""
    found: list[Glance] = []
    left_out: list[str] = []
    for _, folder in find_each(paths, left_out):
        try:
            found.append(glance(folder))
        except runs.RunError as error:
            left_out.append(f"left out: {error}")
    return sorted(found, key=lambda glance: natural(str(glance.folder))), left_out


def glance(folder: Path) -> Glance:
    """Read what a line needs. Raises RunError where run.json can't be read; other files may be damaged."""
    run = runs.read(folder)
    final, told = run.record.get("final"), whole_number(run.record.get("iteration"), 0)
    if run.status == "finished" and isinstance(final, dict):
        row: dict[str, Any] = final
        iteration = told
    else:  # a running or killed run's record is as old as its last heartbeat
        row = run.last_row()
        latest = row.get("iteration", 0)
        iteration = max(told, int(latest) if abs(latest) < MOST_NUMBER else 0)
    return Glance(
        run=run,
        iteration=iteration,
        iterations=run.planned_iterations(),
        seconds=_number(run.record.get("seconds", row.get("seconds"))),
        losses=[_number(row.get(name)) for name in ("d_loss", "g_loss", "d_accuracy")],
    )


def whole_number(value: object, default: int) -> int:
    """A whole number that floats hold too; the default for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_NUMBER else default


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) or (isinstance(value, int) and abs(value) < MOST_NUMBER) else None


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key that puts `2-b` before `10-a`."""
    parts = re.split(r"(\d{1,18})", text)
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts]


# Where runs are ----------------------------------------------------------------------------------


def find_each(paths: Sequence[Path], left_out: list[str]) -> Iterator[tuple[Path, Path]]:
    """(path, run folder at or below it), each folder once; a line for each thing left out is added to `left_out`."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        count = 0
        for folder, identity in _find(path, left_out):
            count += 1
            if identity not in seen:
                seen.add(identity)
                yield path, folder
        if not count:
            left_out.append(f"{path}: {'holds no runs' if path.is_dir() else 'no such folder'}")


def _find(root: Path, left_out: list[str]) -> Iterator[tuple[Path, tuple[int, int]]]:
    """(run folder, its device and inode) at and below a path. Each folder is visited once, whatever links say."""
    seen: set[tuple[int, int]] = set()
    pending = [str(root)]
    while pending:
        path = pending.pop()
        try:
            facts = os.stat(path)
            identity = (facts.st_dev, facts.st_ino)
            if identity in seen or not stat.S_ISDIR(facts.st_mode):
                continue
            seen.add(identity)
            with os.scandir(path) as listing:
                children = list(listing)
        except FileNotFoundError:
            continue
        except OSError as error:
            left_out.append(f"left out: {path}: {error.strerror}")
            continue
        if any(child.name == runs.RECORD for child in children):
            yield Path(path), identity
        else:
            pending += [child.path for child in children if not child.name.startswith(".") and _may_be_folder(child)]


def _may_be_folder(child: "os.DirEntry[str]") -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link in a circle
        return False
