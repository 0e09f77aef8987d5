"""Sampling beside Keras' own `predict`, and the verbs that need no TensorFlow: python benchmarks/sampling.py [RUN]

Without a run, the listing's generator with its first weights. Start-up and tracing are left out there,
and included in what follows.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from dcgan_exp import config, console, runs

with console.native_noise_silenced():
    from dcgan_exp import models, sampling

COUNT, EACH, RUNS = 10_000, 100, 1000


def best_seconds(*works: Callable[[], object], times: int = 5) -> list[float]:
    """The shortest of a few for each, in turns, so that whatever else the machine does meets all alike."""
    taken = [[_seconds(work) for work in works] for _ in range(times)]
    return [min(column) for column in zip(*taken, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def generator() -> sampling.Generator:
    """The run's, or the listing's."""
    if len(sys.argv) > 1:
        return sampling.load_generator(runs.read(Path(sys.argv[1])))
    return sampling.Generator(models.build_generator(models.Architecture.of(config.compose())), "the listing's")


def compare_sampling() -> None:
    """10,000 images, both ways."""
    drawn = generator()
    latents = np.random.default_rng(1).standard_normal((EACH, drawn.latent_dim), np.float32)

    def predict() -> None:
        for _ in range(COUNT // EACH):
            drawn.network.predict(latents, verbose=0)

    drawn.sample(EACH, 0)
    drawn.network.predict(latents, verbose=0)
    ours, theirs = best_seconds(lambda: drawn.sample(COUNT, 1), predict, times=3)
    print(f"{COUNT:,} images of {drawn.source}: sample {ours:.2f} s, predict in a loop of {EACH} {theirs:.2f} s, "
          f"{theirs / ours:.1f} times as fast")  # fmt: skip


def time_verbs() -> None:
    """`list` and `info` over a thousand runs, as processes; the second time, with the index."""
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder))
        for arguments, times in ((["list", folder], 1), (["list", folder], 5), (["info", f"{folder}/500"], 5)):
            command = [sys.executable, "-m", "dcgan_exp", *arguments]
            (taken,) = best_seconds(lambda command=command: run_silently(command), times=times)
            print(f"dcgan-exp {arguments[0]} ({RUNS:,} runs, {'first' if times == 1 else 'next'} time): {taken:.2f} s")


def run_silently(command: list[str]) -> None:
    """A command that has nothing to complain of."""
    assert not subprocess.run(command, capture_output=True, check=True).stderr


def make_runs(folder: Path) -> None:
    """Finished runs of fifty rows."""
    told = {"images_seen": 8, "d_loss": 0.5, "g_loss": 1.5, "d_accuracy": 70, "seconds": 1}
    rows = "".join(
        ",".join(str(i if name == "iteration" else told.get(name, "")) for name in runs.COLUMNS) + "\n"
        for i in range(10, 510, 10)
    )
    settings = json.dumps(config.to_dict(config.compose()))  # JSON is YAML
    for number in range(RUNS):
        run = folder / str(number)
        (run / ".hydra").mkdir(parents=True)
        (run / runs.CONFIG).write_text(settings)
        (run / runs.METRICS).write_text(",".join(runs.COLUMNS) + "\n" + rows)
        (run / runs.RECORD).write_text(json.dumps({"name": f"run {number}", "status": "finished", "iteration": 500}))
        for name in (runs.CONFIG, runs.METRICS, runs.RECORD):
            os.utime(run / name, (1e9, 1e9))


if __name__ == "__main__":
    compare_sampling()
    time_verbs()
