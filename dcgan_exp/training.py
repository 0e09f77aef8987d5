"""The training loop and its schedule: the only place that decides when something is saved."""

import contextlib
import dataclasses
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from dcgan_exp import console, images, runs
from dcgan_exp.config import Config
from dcgan_exp.data import Dataset
from dcgan_exp.gan import GAN

CHUNK_SECONDS = 1.0  # between two visits to Python: how long Ctrl-C waits
CURVES_SECONDS = 30.0  # drawing them costs half a second
GRID_IMAGES = 16


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: its status, the reason where it did not finish, and the last measures."""

    status: runs.Status
    reason: str | None = None
    measures: dict[str, float] = dataclasses.field(default_factory=dict)


class Stop:
    """Whether, and by which signal, the run was asked to end after the running chunk."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def ask(self, number: int, _frame: object = None) -> None:
        """The signal handler."""
        self.signal = signal.Signals(number)

    @property
    def reason(self) -> str | None:
        """In words, or null while nobody asked."""
        return self.signal and {signal.SIGINT: "Ctrl-C"}.get(self.signal, self.signal.name)


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a request that the loop answers between two chunks."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield stop
        return
    old = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def thread_count(config: Config) -> int:
    """The processor threads that a run uses."""
    return config.threads or len(os.sched_getaffinity(0))


def configure_tensorflow(config: Config) -> None:
    """Threads and determinism, before anything else of TensorFlow runs in this process."""
    with contextlib.suppress(RuntimeError):  # TensorFlow has run already: a caller's process, with its own threads
        tf.config.threading.set_intra_op_parallelism_threads(thread_count(config))
        tf.config.threading.set_inter_op_parallelism_threads(thread_count(config))
    tf.config.experimental.enable_op_determinism()


def train(config: Config, dataset: Dataset, folder: Path) -> Outcome:
    """Train in a run folder of its own. Raises RunError where the folder holds a run already.

    Whatever happens, what was recorded so far stays and run.json says how the run ended.
    """
    configure_tensorflow(config)
    recorder = runs.Recorder.create(folder, config)
    with runs.logging_to(folder) as log:
        try:
            with stoppable() as stop:
                outcome = _train(config, dataset, recorder, stop, log)
        except BaseException as error:
            log.exception("the run failed")
            recorder.close("failed", reason=f"{type(error).__name__}: {error}".partition("\n")[0])
            raise
        log.info("%s%s", outcome.status, f": {outcome.reason}" if outcome.reason else "")
        recorder.close(outcome.status, outcome.reason, final=outcome.measures)
    return outcome


def _train(config: Config, dataset: Dataset, recorder: runs.Recorder, stop: Stop, log: logging.Logger) -> Outcome:
    gan = GAN(config, dataset.images)
    recorder.update(threads=thread_count(config), data=_data_facts(dataset), parameters=_parameters(gan))
    log.info("%s: %d images from %s", dataset.name, len(dataset.images), dataset.source)
    draw = Draw(gan, recorder, config.name)
    iteration, chunk, measures, failure = 0, 1, {}, None
    draw.grid(iteration)
    started = time.perf_counter()
    with console.TrainingProgress(config.iterations, config.batch_size) as progress:
        while iteration < config.iterations and not stop.signal:
            count = min(chunk, config.sample_interval - iteration % config.sample_interval, config.iterations - iteration)
            chunk_started = time.perf_counter()
            measures, failed_at = gan.train(iteration, count)
            chunk = _next_chunk(chunk, count, time.perf_counter() - chunk_started)
            iteration = failed_at or iteration + count
            recorder.note(iteration=iteration)
            if failed_at or not gan.is_finite():
                failure = f"the losses or weights were not finite at iteration {iteration}"
                break
            progress.advance(iteration, measures)
            if iteration % config.sample_interval == 0:
                # Report
                seen = iteration * config.batch_size
                seconds = time.perf_counter() - started
                recorder.append({"iteration": iteration, "images_seen": seen, **measures, "seconds": seconds})
                progress.report(iteration, measures)
                log.info(console.listing_line(iteration, measures))
                # Sample
                draw.grid(iteration)
                draw.curves_now_and_then()
    # Save
    draw.curves()
    draw.animation()
    if failure is None:
        for name, network in gan.stock_networks().items():
            with runs.whole_file(runs.network_path(recorder.folder, name)) as path:
                network.save(path)
    recorder.note(iteration=iteration, seconds=round(time.perf_counter() - started, 3))
    status: runs.Status = "failed" if failure else "finished" if iteration == config.iterations else "interrupted"
    return Outcome(status, failure or (stop.reason if status == "interrupted" else None), measures)


def _next_chunk(chunk: int, count: int, seconds: float) -> int:
    """Iterations that take about CHUNK_SECONDS; growing step by step, since the first chunk's time is tracing."""
    return max(1, min(2 * chunk, round(CHUNK_SECONDS * count / seconds))) if count == chunk else chunk


class Draw:
    """The pictures of a run."""

    def __init__(self, gan: GAN, recorder: runs.Recorder, name: str | None) -> None:
        self.gan = gan
        self.folder = recorder.folder
        self.title = name or recorder.folder.name
        self.latents = gan.sample_latents(GRID_IMAGES)
        self.drawn = time.monotonic()

    def grid(self, iteration: int) -> None:
        """The grid of the fixed latents at an iteration."""
        generated = images.to_uint8(self.gan.generate(self.latents).numpy())
        runs.write_whole(runs.sample_path(self.folder, iteration), images.grid_png(generated))

    def curves(self) -> None:
        """Losses and accuracies against iterations."""
        metrics = runs.read(self.folder).metrics()
        runs.write_whole(self.folder / runs.CURVES, images.curves_png(metrics, self.title))
        self.drawn = time.monotonic()

    def curves_now_and_then(self) -> None:
        """The same, where the last drawing is old enough."""
        if time.monotonic() - self.drawn > CURVES_SECONDS:
            self.curves()

    def animation(self) -> None:
        """All grids as one animation."""
        frames = list(runs.read(self.folder).samples().items())
        runs.write_whole(self.folder / runs.ANIMATION, images.animation_gif(frames))


def _data_facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "size": len(dataset.images),
        "fingerprint": dataset.fingerprint,
        "source": dataset.source,
        "warning": dataset.warning,
    }


def _parameters(gan: GAN) -> dict[str, int]:
    return {
        name: sum(math.prod(variable.shape) for variable in network.variables if variable.dtype != "uint32")
        for name, network in (("generator", gan.generator), ("discriminator", gan.discriminator))
    }
