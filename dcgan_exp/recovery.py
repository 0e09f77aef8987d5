"""What a run folder can go on from, whatever befell it. This module never imports TensorFlow."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcgan_exp import checkpoints, runs
from dcgan_exp.checkpoints import Checkpoint
from dcgan_exp.config import Config, ConfigError, from_mapping


@dataclass
class Findings:
    """A folder's last good state, and one line for each thing in it that is damaged."""

    folder: Path
    record: dict[str, Any]
    config: Config  # of config.yaml
    checkpoint: Checkpoint | None
    damaged: list[Path] = field(default_factory=list)  # checkpoints and grids
    lines: list[str] = field(default_factory=list)
    is_record_damaged: bool = False
    is_config_damaged: bool = False
    are_results_damaged: bool = False  # metrics or grids

    @property
    def is_intact(self) -> bool:
        """Whether all but checkpoints is as it was written."""
        return not (self.is_record_damaged or self.is_config_damaged or self.are_results_damaged)

    @property
    def is_finished(self) -> bool:
        """Whether the run came to the end that config.yaml names, as far as run.json can be trusted."""
        is_at_end = self.record.get("iteration") == self.config.iterations
        return is_at_end and self.record.get("status") == "finished" and not self.is_record_damaged

    @property
    def iteration(self) -> int:
        """Where the run can go on from."""
        return self.checkpoint.iteration if self.checkpoint else 0

    @property
    def recorded_config(self) -> Config:
        """The configuration that the last good state comes from."""
        return self.checkpoint.typed_config() if self.checkpoint else self.config


def examine(folder: Path) -> Findings:
    """Read everything that a resumption depends on; change nothing. Raises RunError and ConfigError."""
    check_run(folder)
    _refuse_links(folder)
    lines: list[str] = []
    checkpoint, damaged = _newest_valid(folder, lines)
    config, is_config_damaged = _config(folder, checkpoint, lines)
    is_record_damaged = False
    try:
        record = runs.intact_record(folder)
    except (runs.RunError, OSError, ValueError) as error:
        is_record_damaged = True
        source = "the checkpoint's copy" if checkpoint else "nothing of it"
        lines.append(f"{error}; {source} is used")
        record = dict(checkpoint.record) if checkpoint else {"name": config.name, "iteration": 0}
    found = Findings(folder, record, config, checkpoint, damaged, lines, is_record_damaged, is_config_damaged)
    if checkpoint:
        _compare(found, checkpoint)
    return found


def check_run(folder: Path) -> None:
    """Raises RunError where a folder holds no run, not even a damaged one."""
    if not runs.is_taken(folder):
        raise runs.RunError(f"{folder} is not a run folder: it holds no {runs.RECORD}")


def _refuse_links(folder: Path) -> None:
    """A stranger's folder must not lead a write out of itself."""
    for path in _entries(folder):
        if path.is_symlink():
            raise runs.RunError(f"{path} is a symbolic link, through which nothing is written; replace it by the file")


def _entries(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / runs.CONFIG.parent, folder / runs.SAMPLES, folder / runs.CHECKPOINTS):
        if place.is_dir() and (place == folder or not place.is_symlink()):
            yield from place.iterdir()


def _newest_valid(folder: Path, lines: list[str]) -> tuple[Checkpoint | None, list[Path]]:
    damaged = []
    for path in runs.checkpoint_paths(folder):
        try:
            checkpoint = checkpoints.load(path)
            checkpoint.typed_config()
        except (checkpoints.DamageError, ConfigError) as error:
            lines.append(str(error))
            damaged.append(path)
        else:
            return checkpoint, damaged
    return None, damaged


def _config(folder: Path, checkpoint: Checkpoint | None, lines: list[str]) -> tuple[Config, bool]:
    try:
        return from_mapping(runs.Run(folder, {}).config()), False
    except (runs.RunError, ConfigError) as error:
        if checkpoint is None:
            raise
        lines.append(f"{error}; the checkpoint's copy is used")
        return checkpoint.typed_config(), True


def _compare(found: Findings, checkpoint: Checkpoint) -> None:
    """Find what differs from what was there when the checkpoint was written."""
    path = found.folder / runs.METRICS
    try:
        is_same = runs.read_file(path, runs.MOST_BYTES).startswith(checkpoint.metrics)
    except (OSError, ValueError):
        is_same = False
    if not is_same:
        found.are_results_damaged = True
        found.lines.append(f"{path} is damaged; the checkpoint's copy is used")
    for iteration, digest in sorted(checkpoint.grids.items()):
        path = runs.sample_path(found.folder, iteration)
        try:
            is_same = hashlib.sha256(runs.read_file(path, runs.MOST_BYTES)).hexdigest() == digest
        except (OSError, ValueError):
            is_same = False
        if not is_same:
            found.are_results_damaged = True
            state = "damaged" if path.exists() else "missing"
            found.lines.append(f"{path} is {state}; only a new run can draw it again")
            found.damaged += [path] if path.exists() else []
    for iteration, path in runs.Run(found.folder, {}).samples().items():
        if iteration <= checkpoint.iteration and iteration not in checkpoint.grids:
            found.lines.append(f"{path} is no grid of this run")
            found.damaged.append(path)


def cut_back(found: Findings) -> None:
    """Leave in the folder what belongs to the last good state; damaged files are renamed, not removed."""
    folder, checkpoint = found.folder, found.checkpoint
    runs.remove_orphans(folder)
    for path in found.damaged:
        os.replace(path, path.with_name(path.name + runs.DAMAGED_SUFFIX))
    for place in (folder / runs.SAMPLES, folder / runs.CHECKPOINTS):
        place.mkdir(exist_ok=True)
    for iteration, path in runs.Run(folder, {}).samples().items():
        if iteration > found.iteration or not checkpoint:
            path.unlink()
    metrics = checkpoint.metrics if checkpoint else bytes(runs.Recorder(folder, {}).metrics)
    runs.write_whole(folder / runs.METRICS, metrics)  # whole, since a backup may share the old file by a hard link
    if checkpoint and (folder / runs.LOG).exists():
        log = runs.read_file(folder / runs.LOG, runs.MOST_BYTES)
        runs.write_whole(folder / runs.LOG, log[: checkpoint.log_bytes])
