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

from dcgan_exp import console, devices, locks, runs, trackers, workers
from dcgan_exp.checkpoints import Checkpoint
from dcgan_exp.config import Config, doubts
from dcgan_exp.data import Dataset, settled
from dcgan_exp.evaluation import Evaluation, best_part
from dcgan_exp.gan import GAN
from dcgan_exp.saving import Draw, Position, return_free_memory, save, save_best, save_networks

CHUNK_SECONDS = 1.0  # between two visits to Python: how long Ctrl-C waits
STOPPED_ELSEWHERE = "another worker was asked to stop"
NOT_FINITE = "the losses or weights were not finite at iteration {}"

log = logging.getLogger("dcgan_exp")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: its status, the reason where it did not finish, and the last measures."""

    status: runs.Status
    reason: str | None = None
    measures: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of training, over all the processes that had a part in it


class Stopped(Exception):  # noqa: N818  no error
    """Raised out of what is being done, since the run was asked to end."""


class Stop:
    """Whether, and by which signal, the run was asked to end after the running chunk."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def listen(self) -> dict[signal.Signals, Any]:
        """Take SIGINT and SIGTERM, even from who took them since. Returns what would handle them else."""
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
            return {}
        return {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(self, number: int, _frame: object = None) -> None:
        """The signal handler."""
        self.signal = signal.Signals(number)

    @property
    def reason(self) -> str | None:
        """In words, or null while nobody asked."""
        if self.signal is None:
            return None
        return "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a request that the loop answers between two chunks."""
    stop = Stop()
    old = stop.listen()
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
    devices.configure(config)
    tf.config.experimental.enable_op_determinism()


def train(config: Config, dataset: Dataset, folder: Path) -> Outcome:
    """Train in a run folder of its own. Raises RunError where the folder holds a run already, and ConfigError.

    Whatever happens, what was recorded so far stays and run.json says how the run ended. A worker that is not the
    chief only assists: it writes nothing.
    """
    devices.check(config)
    if not workers.of(config.workers).is_chief:
        return assist(config, dataset)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.held(folder):
            return run(config, dataset, runs.Recorder.create(folder, config))
    except OSError as error:  # run() keeps its own
        raise runs.RunError(f"{folder} can't be used: {error}") from error


def run(config: Config, dataset: Dataset, recorder: runs.Recorder, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train in a folder that this process holds the lock of, from a checkpoint or from the start.

    A full disk, a lost permission or a removed folder ends the run as failed; any other error is raised too.
    """
    configure_tensorflow(config)
    if config.data.channels is None:
        config = settled(config, dataset)
        runs.write_config(recorder.folder, config)
    tracker = trackers.Tracker(config, recorder.folder)
    with runs.logging_to(recorder.folder):
        for line in doubts(config):
            _warn(line)
        try:
            with stoppable() as stop, devices.team(config, dataset) as team:
                stop.listen()  # again: TensorFlow's server has taken SIGTERM
                outcome = _train(team, dataset, recorder, checkpoint, stop, tracker)
        except (OSError, runs.RunError) as error:
            outcome = Outcome("failed", _words(error), seconds=recorder.record.get("seconds") or 0.0)
        except BaseException as error:
            log.exception("the run failed")
            recorder.close("failed", reason=f"{type(error).__name__}: {error}".partition("\n")[0])
            tracker.finish("failed")
            raise
        log.info("%s%s", outcome.status, f": {outcome.reason}" if outcome.reason else "")
        recorder.close(outcome.status, outcome.reason, final=outcome.measures)
    tracker.finish(outcome.status)
    return outcome


def _warn(line: str) -> None:
    console.warn(line)
    log.warning(line)


def _words(error: OSError | runs.RunError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error).partition("\n")[0]


def assist(config: Config, dataset: Dataset) -> Outcome:
    """Train along as one of several workers, under their chief. Writes nothing."""
    configure_tensorflow(config)
    config = settled(config, dataset)
    try:
        with stoppable() as stop, devices.team(config, dataset) as team:
            stop.listen()
            iteration, failed_at = team.start(0), None
            measures: dict[str, float] = {}
            while count := team.agreed(0 if stop.signal else 1):
                measures, failed_at = team.train(iteration, count)
                iteration = failed_at or iteration + count
    except runs.RunError as error:
        return Outcome("failed", str(error))
    if failed_at:
        return Outcome("failed", NOT_FINITE.format(iteration), measures)
    if iteration == config.iterations:
        return Outcome("finished", None, measures)
    return Outcome("interrupted", stop.reason or STOPPED_ELSEWHERE, measures)


def _train(
    team: devices.Team,
    dataset: Dataset,
    recorder: runs.Recorder,
    checkpoint: Checkpoint | None,
    stop: Stop,
    tracker: trackers.Tracker,
) -> Outcome:
    gan, now, chunk, failure, is_reported = team.gan, Position(), 1, None, True
    config = gan.config
    evaluation = Evaluation(gan, dataset)
    if checkpoint:
        _restore(gan, evaluation, checkpoint)
        now = Position(checkpoint.iteration, checkpoint.seconds, checkpoint.measures)
        save_best(gan, evaluation, recorder.folder)  # what lies there may be of an iteration that is made again
    team.start(now.iteration)
    recorder.update(
        threads=thread_count(config), devices=devices.described(config), data=_data_facts(dataset),
        parameters=_parameters(gan), best=evaluation.best,
    )  # fmt: skip
    log.info("%s: %d images from %s", dataset.name, len(dataset.images), dataset.source)
    for line in dataset.skipped:
        log.warning("left out: %s", line)
    draw = Draw(gan, recorder)
    draw.curves()  # empty still; what drawing needs is loaded now and does not add to memory later
    if now.iteration % config.sample_interval == 0:
        draw.grid(now.iteration)
    started = time.perf_counter() - now.seconds
    with console.TrainingProgress(config.iterations, config.batch_size, now.iteration) as progress:
        stages = Stages(gan, recorder, evaluation, draw, tracker, progress, stop)
        if checkpoint:
            is_reported = stages.report_what_is_missing(now)
        while count := team.agreed(0 if stop.signal else min(chunk, _until_next_stage(config, now.iteration))):
            chunk_started = time.perf_counter()
            now.measures, failed_at = team.train(now.iteration, count)
            recorder.check()
            chunk = _next_chunk(chunk, count, time.perf_counter() - chunk_started)
            now.iteration, now.seconds = failed_at or now.iteration + count, time.perf_counter() - started
            recorder.note(iteration=now.iteration, seconds=round(now.seconds, 3))
            if failed_at or not gan.is_finite():
                failure = NOT_FINITE.format(now.iteration)
                break
            progress.advance(now.iteration, now.measures)
            is_reported = stages.report(now)
            if now.iteration % config.checkpoint_interval == 0:
                save(gan, evaluation, recorder, now)
    if failure is None:
        save(gan, evaluation, recorder, now)  # first: who asked for the end may not wait for the pictures
        save_networks(gan, recorder.folder)
    draw.curves()
    draw.animation()
    is_whole = now.iteration == config.iterations and is_reported
    status: runs.Status = "failed" if failure else "finished" if is_whole else "interrupted"
    reason = failure or (stop.reason or STOPPED_ELSEWHERE if status == "interrupted" else None)
    return Outcome(status, reason, now.measures, now.seconds)


def _restore(gan: GAN, evaluation: Evaluation, checkpoint: Checkpoint) -> None:
    best = best_part(checkpoint.arrays)
    try:
        gan.restore({name: array for name, array in checkpoint.arrays.items() if name not in best})
    except ValueError as error:
        raise runs.RunError(f"the checkpoint of iteration {checkpoint.iteration} does not fit: {error}") from error
    evaluation.restore(checkpoint.record.get("best"), best)


def _until_next_stage(config: Config, iteration: int) -> int:
    intervals = [config.sample_interval, config.checkpoint_interval]
    intervals += [config.eval_interval] if config.eval_interval else []
    return min(config.iterations - iteration, *(interval - iteration % interval for interval in intervals))


@dataclasses.dataclass(frozen=True)
class Stages:
    """What happens between two iterations, where it is due: Evaluate, Report, Sample."""

    gan: GAN
    recorder: runs.Recorder
    evaluation: Evaluation
    draw: Draw
    tracker: trackers.Tracker
    progress: console.TrainingProgress
    stop: Stop

    def report_what_is_missing(self, now: Position) -> bool:
        """The row that a run which was asked to stop while it scored has left out. False where it is again."""
        iterations = runs.Run(self.recorder.folder, {}).metrics()["iteration"]
        return now.iteration == 0 or now.iteration in iterations[-1:] or self.report(now)

    def report(self, now: Position) -> bool:
        """The row, the line and the grid of an iteration, where they are due.

        False, with none of them, where the run is asked to stop while it scores.
        """
        config, iteration, measures = self.gan.config, now.iteration, dict(now.measures)
        is_sampled, is_scored = iteration % config.sample_interval == 0, self.evaluation.is_due(iteration)
        if not is_sampled and not is_scored:
            return True
        if is_scored:
            try:
                measures |= self._evaluate(iteration)
            except Stopped:
                return False
        images_seen = iteration * config.batch_size
        self.recorder.append({"iteration": iteration, "images_seen": images_seen, **measures, "seconds": now.seconds})
        self.progress.report(iteration, measures)
        log.info(console.listing_line(iteration, measures))
        if is_sampled:
            self.draw.grid(iteration)
        grid = runs.sample_path(self.recorder.folder, iteration) if is_sampled else None
        self.tracker.report(iteration, measures, grid)
        self.draw.curves_now_and_then()
        return True

    def _evaluate(self, iteration: int) -> dict[str, float]:
        """The scores, after the best generator is kept. Raises Stopped where the run is asked to end meanwhile."""
        is_first = self.evaluation.yardstick is None
        scores = self.evaluation.score(self._wait_for)
        if is_first:
            self._tell_of_yardstick()
        is_best = self.evaluation.keep_if_best(iteration, scores)
        if is_best:
            save_best(self.gan, self.evaluation, self.recorder.folder)
        self.recorder.update(yardstick=self.evaluation.facts, best=self.evaluation.best)
        line = console.score_line(iteration, scores, is_best)
        console.say(line)
        log.info(line)
        return_free_memory()
        return scores

    def _tell_of_yardstick(self) -> None:
        line, warning = console.yardstick_line(self.evaluation.facts), self.evaluation.facts["warning"]
        console.say(line)
        log.info(line)
        if warning:
            _warn(warning)

    def _wait_for(self, text: str) -> None:
        if self.stop.signal:
            raise Stopped
        self.progress.wait_for(text)


def _next_chunk(chunk: int, count: int, seconds: float) -> int:
    """Iterations that take about CHUNK_SECONDS; growing step by step, since the first chunk's time is tracing."""
    return max(1, min(2 * chunk, round(CHUNK_SECONDS * count / seconds))) if count == chunk else chunk


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
