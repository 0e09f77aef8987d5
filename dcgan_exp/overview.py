"""Run folders at a glance: one of them on a screen, all of them in a list, and what could be thrown away."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan_exp import console, locks, runs
from dcgan_exp.glances import Glance

if TYPE_CHECKING:
    from dcgan_exp.index import Entry

SETTINGS = ("model.name", "optimizer.name", "loss.name", "update.name", "latent_dim", "seed", "precision", "threads")
COLUMNS = ("status", "iteration", "started", "took", "name", "D loss", "G loss", "acc.", "folder")
RIGHT = ("iteration", "took", "D loss", "G loss", "acc.")


def size_text(count: float) -> str:
    """`812 B`, `6.6 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def bytes_below(path: Path) -> int:
    """What a file or folder holds; links count for themselves, and what a run removes meanwhile for nothing."""
    if path.is_symlink() or not path.is_dir():
        return _file_bytes(path)
    return sum(_file_bytes(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _file_bytes(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


# info --------------------------------------------------------------------------------------------


def screen(entry: "Entry") -> list[tuple[str, str]]:
    """(heading, text) lines that tell all about a run."""
    record, config = entry.record, entry.config
    parts = [
        ("run", f"{record.get('name') or entry.folder.name}   {entry.folder}"),
        ("status", _status(entry)),
        ("progress", _progress(entry)),
        ("where", _where(record)),
        ("data", _data(record, config)),
        ("networks", _networks(record)),
        ("settings", "  ".join(f"{key.removesuffix('.name')}={config[key]}" for key in SETTINGS if key in config)),
        ("", "  ".join(f"{key}={config[key]}" for key in ("batch_size", "sample_interval", "optimizer.learning_rate",
                                                          "optimizer.beta_1", "ema.decay") if config.get(key))),
        ("numbers", "  ".join(f"{name} {value:.4g}" for name, value in entry.final.items())),
        ("best", "  ".join(f"{name} {value:.4g} @{at:,}" for name, (value, at) in entry.best.items())),
        ("diagnosis", ", ".join(f"{name} @{onset:,}" for name, onset in entry.diagnosis.items())),
        *(("problem", problem) for problem in entry.problems),
        *_files(entry.folder),
    ]  # fmt: skip
    return [(heading, text) for heading, text in parts if text]


def _status(entry: "Entry") -> str:
    status, reason = entry.run.status, entry.record.get("reason")
    return f"{status}: {reason}" if reason else status


def _progress(entry: "Entry") -> str:
    iteration, total, seconds = (
        entry.record.get("iteration", 0), entry.config.get("iterations"), entry.record.get("seconds"),
    )  # fmt: skip
    text = f"iteration {iteration:,}" + (f" of {total:,}" if isinstance(total, int) else "")
    batch_size = entry.config.get("batch_size")
    if isinstance(batch_size, int):
        text += f", {iteration * batch_size:,} images"
    if isinstance(seconds, int | float) and seconds > 0:
        text += f", {console.duration(seconds)} ({iteration / seconds:.1f} iterations/s)"
    return text


def _where(record: dict[str, Any]) -> str:
    times = " to ".join(str(record[key]) for key in ("started", "ended") if record.get(key))
    place = f"on {record.get('host')}, process {record.get('pid')}" if record.get("host") else ""
    versions = record.get("versions")
    told = " ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras") if name in versions) \
        if isinstance(versions, dict) else ""  # fmt: skip
    return ", ".join(part for part in (times, place, told) if part)


def _data(record: dict[str, Any], config: dict[str, Any]) -> str:
    facts = record.get("data")
    if not isinstance(facts, dict):
        return str(config.get("data.name", ""))
    size, channels = config.get("data.image_size"), config.get("data.channels")
    return (
        f"{facts.get('name')}, {facts.get('size')} images of {size} x {size} x {channels}, "
        f"fingerprint {str(facts.get('fingerprint'))[:12]}"
    )


def _networks(record: dict[str, Any]) -> str:
    counts = record.get("parameters")
    if not isinstance(counts, dict):
        return ""
    return ", ".join(f"{name} {count:,} parameters" for name, count in counts.items() if isinstance(count, int))


def _files(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted(path for path in folder.iterdir() if ".tmp" not in path.suffixes):
        if path.is_dir() and not path.is_symlink():
            count = sum(len(names) for _, _, names in os.walk(path))
            found.append((f"{path.name}/", f"{count:,} files, {size_text(bytes_below(path))}"))
        else:
            found.append((path.name, size_text(_file_bytes(path))))
    width = max((len(name) for name, _ in found), default=0)
    return [("files" if not at else "", f"{name:{width}}  {facts}") for at, (name, facts) in enumerate(found)]


# list --------------------------------------------------------------------------------------------


def listing(found: Sequence[Glance]) -> list[list[str]]:
    """A line of cells for each run, the oldest first, below one of headings."""
    return [list(COLUMNS), *(_cells(glance) for glance in sorted(found, key=_started))]


def _started(glance: Glance) -> str:
    return str(glance.run.record.get("started") or "")[:30]


def _cells(glance: Glance) -> list[str]:
    *losses, accuracy = glance.losses
    return [
        glance.run.status,
        f"{glance.iteration:,}" + (f"/{glance.iterations:,}" if glance.iterations is not None else ""),
        _started(glance)[:16].replace("T", " "),
        console.duration(glance.seconds) if glance.seconds is not None else "",
        str(glance.run.record.get("name") or "")[:30],
        *(f"{value:.3f}" if value is not None else "" for value in losses),
        f"{accuracy:.0f}%" if accuracy is not None else "",
        str(glance.folder),
    ]


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells as text in columns; the last column ends where it ends."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS) - 1)]
    right = [heading in RIGHT for heading in COLUMNS]
    return [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=False)
        )
        + "  " + line[-1]
        for line in lines
    ]  # fmt: skip


# clean -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waste:
    """Something that could be deleted, and why."""

    path: Path
    run: Path
    reason: str
    status: runs.Status  # of the run, which must still hold when it is deleted
    size: int  # bytes


def waste(seen: Sequence[Glance]) -> list[Waste]:
    """Failed runs, and the checkpoints of finished ones but for the newest, which a longer run or a fork starts from.

    A finished run's results are never among it.
    """
    found = []
    for glance in seen:
        folder, status = glance.folder, glance.run.status
        if status == "failed" and _is_only_a_run(folder):
            reason = f"failed at iteration {glance.iteration:,}"
            if kept := runs.checkpoint_paths(folder):
                reason += f", resume would go on from {int(kept[0].stem):,}"
            found.append(Waste(folder, folder, reason, status, bytes_below(folder)))
        checkpoints = folder / runs.CHECKPOINTS
        if status == "finished" and checkpoints.is_dir() and not checkpoints.is_symlink():
            found += [
                Waste(path, folder, "old checkpoint of a finished run", status, bytes_below(path))
                for path in old_checkpoints(folder)
            ]
    return found


def old_checkpoints(folder: Path) -> list[Path]:
    """A finished run's checkpoints but for the newest; none where its generator was not saved."""
    saved = runs.network_path(folder, "generator").exists()
    return runs.checkpoint_paths(folder)[:0:-1] if saved else []


def _is_only_a_run(folder: Path) -> bool:
    """Whether nothing else would go with the folder: no link, and no other run below it."""
    others = (names for below, _, names in os.walk(folder) if Path(below) != folder)
    return not folder.is_symlink() and not any(runs.RECORD in names for names in others)


def delete(item: Waste) -> bool:
    """Delete it, unless the run is in use or has another status by now. Raises OSError, RunError."""
    try:
        with locks.held(item.run):  # a process that resumes it says so in run.json only after a while
            if runs.read(item.run).status != item.status:
                return False
            if item.path.is_dir() and not item.path.is_symlink():
                shutil.rmtree(item.path)
            else:
                item.path.unlink()
    except locks.InUseError:
        return False
    return True
