"""Run folders made in a moment, through the same Recorder that a real run uses."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_exp import images, runs
from dcgan_exp.config import Config, check


def config(**values: Any) -> Config:
    """A checked configuration; `optimizer__learning_rate=1e-3` sets a dotted key."""
    made = Config(sample_interval=10, iterations=200, batch_size=8)
    made.optimizer.learning_rate = 1e-3
    made.model.generator.widths, made.model.generator.strides = [16, 8, 8], [2, 1, 2]
    made.model.discriminator.widths = [4, 8, 8]
    for key, value in values.items():
        *path, name = key.split("__")
        section: Any = made
        for part in path:
            section = getattr(section, part)
        setattr(section, name, value)
    check(made)
    return made


def default_row(iteration: int) -> dict[str, float]:
    """What a healthy run reports: a wave, so that nothing looks stalled."""
    wave = math.sin(iteration / 20)
    return {"d_loss": 0.6 + 0.1 * wave, "g_loss": 1.2 - 0.3 * wave, "d_accuracy": 70 + 5 * wave,
            "d_accuracy_real": 72 + 5 * wave, "d_accuracy_fake": 68 + 5 * wave}  # fmt: skip


def samples(iteration: int, count: int = 16, spread: float = 1.0, size: int = 28, channels: int = 1) -> np.ndarray:
    """Blobs that wander with the iteration; a spread of 0 makes them all alike."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    made = []
    for number in range(count):
        angle = spread * number * 2.4 + iteration / 60
        blob = np.exp(-(((x - 0.25 * np.cos(angle)) / 0.16) ** 2 + ((y - 0.25 * np.sin(angle)) / 0.12) ** 2))
        made.append(np.repeat((255 * blob).astype(np.uint8)[..., None], channels, axis=2))
    return np.stack(made)


def make_run(
    folder: Path,
    *,
    status: runs.Status = "finished",
    reason: str | None = None,
    rows: int = 20,
    row: Any = default_row,
    grid: Any = samples,
    facts: dict[str, Any] | None = None,
    **values: Any,
) -> Path:
    """A run folder with a row and a grid each 10 iterations. `killed` leaves it as a SIGKILL does."""
    settings = config(**values)
    recorder = runs.Recorder.create(folder, settings)
    data = {"name": settings.data.name, "size": 60000, "fingerprint": "a" * 64, "source": "test"}
    recorder.update(threads=1, data=data, parameters={"generator": 10, "discriminator": 20})
    for iteration in range(0, 10 * rows + 1, 10):
        if grid is not None:
            runs.write_whole(runs.sample_path(folder, iteration), images.grid_png(grid(iteration)))
    lines = [",".join([*runs.COLUMNS, *(key for key in row(10) if key not in runs.COLUMNS)])]
    for iteration in range(10, 10 * rows + 1, 10):
        measured = {"iteration": iteration, "images_seen": 8 * iteration, "seconds": iteration / 7, **row(iteration)}
        lines.append(",".join(str(measured.get(key, "")) for key in lines[0].split(",")))
    (folder / runs.METRICS).write_text("\n".join(lines) + "\n")
    last = row(10 * rows)
    recorder.close("finished" if status == "killed" else status, reason, final=last, iteration=10 * rows, seconds=9.5,
                   **(facts or {}))  # fmt: skip
    if status == "killed":
        record = json.loads((folder / runs.RECORD).read_text())
        gone = {"status": "running", "process_start": "1", "ended": None, "final": None}
        (folder / runs.RECORD).write_text(json.dumps(record | gone))
    return folder
