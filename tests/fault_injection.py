"""Faults on demand: processes that are killed at a chosen instant, writes that fail, and what two runs must share."""

import csv
import errno
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan_exp import checkpoints, runs

SMALL = (
    "data=mnist_5k", "batch_size=8", "sample_interval=4", "checkpoint_interval=3", "latent_dim=10", "threads=1",
    "model.generator.widths=[16,8,8]", "model.discriminator.widths=[4,8,8]",
)  # fmt: skip
# Everything that has a state of its own: dropout, batch normalisation in both networks, bfloat16, an average.
STATEFUL = (
    *SMALL, "model.discriminator.dropout=0.3", "model.discriminator.normalization=batch", "precision=mixed_bfloat16",
    "ema=average",
)  # fmt: skip

# The children come from a process that has imported TensorFlow once, so that each needs a second instead of five.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["dcgan_exp.training", "dcgan_exp.resuming"])


@dataclass(frozen=True)
class Kill:
    """SIGKILL within a save: of the checkpoint with this number, in a process, at a stage."""

    save: int
    stage: str  # "writing", "written", "renamed"


def result(folder: Path) -> dict[str, Any]:
    """All that must be equal: rows without the wall clock, pictures, and every variable of the final state."""
    rows = [row[:-1] for row in csv.reader((folder / runs.METRICS).read_text().splitlines())]
    pictures = [folder / runs.CURVES, folder / runs.ANIMATION, *sorted((folder / runs.SAMPLES).glob("*.png"))]
    checkpoint = checkpoints.load(runs.checkpoint_paths(folder)[0])
    return {
        "rows": rows,
        "pictures": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures},
        "iteration": checkpoint.iteration,
        "measures": checkpoint.measures,
        "state": {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in checkpoint.arrays.items()},
    }


def differing(folder: Path, other: Path) -> list[str]:
    """Which of the results differ."""
    first, second = result(folder), result(other)
    return [key for key in first if first[key] != second[key]]


def leftovers(folder: Path) -> list[str]:
    """Temporary files and locks."""
    return [path.name for path in folder.rglob(".*") if path.name != ".hydra"]


def killed_copy(folder: Path, copy: Path, iteration: int) -> Path:
    """What a run would have left, had it been killed some time after the checkpoint of an iteration."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(runs.ANIMATION, "*.keras"))  # of the end alone
    for path in runs.checkpoint_paths(copy):
        if int(path.stem) > iteration:
            path.unlink()
    (copy / runs.CURVES).unlink()
    runs.write_record(copy, {**runs.intact_record(copy), "status": "running", "pid": 1, "process_start": "0"})
    return copy


def damage(path: Path, random_: random.Random) -> None:
    """Flip one bit, or cut off the end."""
    content = bytearray(path.read_bytes())
    position = random_.randrange(len(content))
    if random_.random() < 0.3:
        del content[position:]
    else:
        content[position] ^= 1 << random_.randrange(8)
    path.write_bytes(content)


# In children -------------------------------------------------------------------------------------


def start(folder: Path, overrides: Sequence[str], fault: Kill | tuple[int, int] | None = None) -> Any:
    """A process that trains in a folder, or goes on where it holds a run, and suffers the fault."""
    process = context.Process(target=_work, args=(folder, tuple(overrides), fault))
    process.start()
    return process


def finish(folder: Path, overrides: Sequence[str] = (), fault: Kill | tuple[int, int] | None = None) -> int:
    """The same, to its end. Returns the exit code: 0 finished, 1 failed, negative where a signal ended it."""
    process = start(folder, overrides, fault)
    process.join()
    return int(process.exitcode)


def kill_after(process: Any, first: Path, seconds: float) -> bool:
    """SIGKILL so long after a file appeared. False where the run had ended already."""
    while not first.exists() and process.is_alive():
        time.sleep(0.005)
    process.join(seconds)
    was_alive = process.is_alive()
    process.kill()
    process.join()
    return bool(was_alive)


def _work(folder: Path, overrides: tuple[str, ...], fault: Kill | tuple[int, int] | None) -> None:
    from dcgan_exp import data, resuming, training
    from dcgan_exp.config import compose

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    if isinstance(fault, Kill):
        _kill_within_save(fault)
    elif fault:
        _fail_from_write(*fault)
    if (folder / runs.RECORD).exists():
        outcome = resuming.resume(folder)
    else:
        config = compose(overrides)
        outcome = training.train(config, data.load(config.data), folder)
    os._exit(0 if outcome.status == "finished" else 1)


def _kill_within_save(fault: Kill) -> None:
    real, saves = runs.write_whole, [0]

    def write_whole(path: Path, content: bytes) -> None:
        if path.parent.name != runs.CHECKPOINTS:
            return real(path, content)
        saves[0] += 1
        if saves[0] == fault.save:
            if fault.stage == "writing":
                path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[: len(content) // 3])
            elif fault.stage == "written":
                path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content)
            else:
                real(path, content)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, content)

    runs.write_whole = write_whole


def _fail_from_write(number: int, code: int) -> None:
    """Let the write of this number fail; where the disk is full, all that follow too."""
    calls = [0]

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[0] += 1
            if calls[0] == number or (calls[0] > number and code == errno.ENOSPC):
                raise OSError(code, os.strerror(code))
            return real(*arguments)

        return call

    os.fsync, os.replace = failing(os.fsync), failing(os.replace)


def record(folder: Path) -> dict[str, Any]:
    """run.json as it stands."""
    loaded: dict[str, Any] = json.loads((folder / runs.RECORD).read_bytes())
    return loaded
