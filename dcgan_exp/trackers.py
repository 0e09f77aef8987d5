"""What a team's own tool is told of a run: TensorBoard, MLflow or Weights & Biases.

A thread does the telling, so that the training never waits; what goes wrong there costs a warning, never the run.
The packages are extras and imported only here, where they are used. This module never imports TensorFlow.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from dcgan_exp import console, runs, user_cache
from dcgan_exp.config import Config, ConfigError, TrackerConfig, flatten, to_dict

MOST_WAITING = 10_000  # reports; the newer ones are lost beyond it
FINISH_SECONDS = 30.0  # that the end of a run waits for a tracker
MLFLOW_BATCH = 100  # parameters in a request
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


class Backend(Protocol):
    """What a tracker does with what it is told; anything may raise and anything may take long."""

    def scalars(self, iteration: int, measures: Mapping[str, float]) -> None:
        """Losses and accuracies after an iteration."""

    def picture(self, iteration: int, path: Path) -> None:
        """The grid of an iteration."""

    def finish(self, status: runs.Status) -> None:
        """The end of the run."""


def check_installed(config: TrackerConfig) -> None:
    """Raises ConfigError where the tracker's package is missing."""
    package = PACKAGES.get(config.name)
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError("tracker.name", config.name, f"it is an extra: pip install 'dcgan-exp[{config.name}]'")


class Tracker:
    """Takes reports at once and hands them on when it can. With tracker=none it does nothing."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.name = config.tracker.name
        self._reports: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue(MOST_WAITING)
        self._is_over = self.name == "none"
        self._thread = threading.Thread(target=self._work, args=(config, folder), name="tracker", daemon=True)
        if not self._is_over:
            self._thread.start()

    def report(self, iteration: int, measures: Mapping[str, float], picture: Path | None = None) -> None:
        """The measures and the grid of an iteration."""
        self._put("scalars", iteration, dict(measures))
        if picture is not None:
            self._put("picture", iteration, picture)

    def finish(self, status: runs.Status) -> None:
        """The end of the run; waits up to 30 seconds for what is still to be told."""
        if self._is_over:
            return
        self._put("finish", status)
        self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            console.warn(f"tracker={self.name} did not answer within {FINISH_SECONDS:g} s; it may lack the run's end")

    def _put(self, *report: Any) -> None:
        if not self._is_over:
            try:
                self._reports.put_nowait((report[0], report[1:]))
            except queue.Full:  # memory is not for its backlog
                self._give_up("it does not answer")

    def _work(self, config: Config, folder: Path) -> None:
        try:
            backend = BACKENDS[self.name](config, folder)
            for method, arguments in iter(self._reports.get, None):
                getattr(backend, method)(*arguments)
                if method == "finish":
                    return
        except Exception as error:  # theirs may be anything
            self._give_up(f"{type(error).__name__}: {error}".partition("\n")[0])

    def _give_up(self, reason: str) -> None:
        if not self._is_over:
            console.warn(f"tracker={self.name} is told nothing more: {reason}; the run goes on")
        self._is_over = True


def parameters(config: Config) -> Iterator[tuple[str, Any]]:
    """The resolved configuration as dotted keys, each value a number, a truth value or text."""
    for key, value in flatten(to_dict(config)):
        if not key.startswith("tracker."):
            yield key, value if isinstance(value, bool | int | float | str) else "null" if value is None else str(value)


def identity(folder: Path) -> str:
    """A name for the run folder that its resumption finds again."""
    return hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]


def title(config: Config, folder: Path) -> str:
    """What a person recognises the run by."""
    return config.name or folder.name


# Backends ----------------------------------------------------------------------------------------


class TensorBoard:
    """Event files in the run folder: scalars, grids and the HParams view."""

    def __init__(self, config: Config, folder: Path) -> None:
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder / runs.TENSORBOARD))
        self._is_new = True
        self._add(summary_v2.hparams_pb(dict(parameters(config)), trial_id=identity(folder)))

    def scalars(self, iteration: int, measures: Mapping[str, float]) -> None:
        """One value for each measure."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._is_new:  # what an interrupted run has told from here on was not kept, and is told again
            self._write(iteration, session_log=SessionLog(status=SessionLog.START))
            self._is_new = False
        values = [Summary.Value(tag=name, simple_value=value) for name, value in measures.items()]
        self._add(Summary(value=values), iteration)

    def picture(self, iteration: int, path: Path) -> None:
        """The grid as it lies in the folder."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path, formats=["PNG"]) as image:
            width, height, channels = *image.size, len(image.getbands())
        encoded = Summary.Image(encoded_image_string=path.read_bytes(), width=width, height=height, colorspace=channels)
        self._add(Summary(value=[Summary.Value(tag="samples", image=encoded)]), iteration)

    def finish(self, status: runs.Status) -> None:
        """The status for the HParams view, which takes the first: of a run that may go on there is none yet."""
        from tensorboard.plugins.hparams import api_pb2, summary

        if status != "interrupted":
            told = api_pb2.STATUS_SUCCESS if status == "finished" else api_pb2.STATUS_FAILURE
            self._add(summary.session_end_pb(told))
        self._writer.close()

    def _add(self, summary: Any, iteration: int = 0) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        # By way of bytes, since some of TensorBoard's functions return TensorFlow's class of the same message.
        self._write(iteration, summary=Summary.FromString(summary.SerializeToString()))

    def _write(self, iteration: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=iteration, **content))
        self._writer.flush()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """One process of this user on this machine at a time."""
    path = user_cache.cache_folder("trackers") / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class MLflow:
    """A run of an experiment, in the store of `tracker.uri`, of MLFLOW_TRACKING_URI, or in the folder mlruns/ here."""

    ENDS: Mapping[str, str] = {"finished": "FINISHED", "failed": "FAILED"}

    def __init__(self, config: Config, folder: Path) -> None:
        uri = config.tracker.uri or os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # since 3.12 it has to be asked for
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(uri)
        with _one_at_a_time():  # jobs of a sweep: each would make an experiment of this name
            found = self._client.get_experiment_by_name(config.tracker.project)
            experiment = found.experiment_id if found else self._client.create_experiment(config.tracker.project)
        self._run: str = self._earlier(experiment, folder) or self._new(experiment, config, folder)

    def _earlier(self, experiment: str, folder: Path) -> str | None:
        for run in self._client.search_runs([experiment], f"tags.dcgan_exp = '{identity(folder)}'"):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        return None

    def _new(self, experiment: str, config: Config, folder: Path) -> str:
        from mlflow.entities import Param

        tags = {"dcgan_exp": identity(folder), "folder": str(folder.absolute())}
        run = self._client.create_run(experiment, run_name=title(config, folder), tags=tags)
        made = [Param(key, str(value)) for key, value in parameters(config)]
        for first in range(0, len(made), MLFLOW_BATCH):
            self._client.log_batch(run.info.run_id, params=made[first : first + MLFLOW_BATCH])
        return str(run.info.run_id)

    def scalars(self, iteration: int, measures: Mapping[str, float]) -> None:
        """One request for all measures."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, iteration) for name, value in measures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, _iteration: int, path: Path) -> None:
        """The grid's file among the run's artifacts."""
        self._client.log_artifact(self._run, str(path), "samples")

    def finish(self, status: runs.Status) -> None:
        """MLflow's own word for the status, and ours as a tag."""
        self._client.set_tag(self._run, "status", status)
        self._client.set_terminated(self._run, self.ENDS.get(status, "KILLED"))


class WeightsAndBiases:
    """A run of a project; offline it is a file in the run folder, for `wandb sync`."""

    def __init__(self, config: Config, folder: Path) -> None:
        import wandb

        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True)
        self._image = wandb.Image
        mode: Any = config.tracker.mode
        self._run: Any = wandb.init(
            project=config.tracker.project, name=title(config, folder), id=identity(folder), dir=str(folder),
            config=to_dict(config), mode=mode, resume=None if mode == "offline" else "allow", settings=settings,
        )  # fmt: skip

    def scalars(self, iteration: int, measures: Mapping[str, float]) -> None:
        """The measures at the iteration's step."""
        self._run.log(dict(measures), step=iteration)

    def picture(self, iteration: int, path: Path) -> None:
        """The grid at the iteration's step."""
        self._run.log({"samples": self._image(str(path), caption=f"iteration {iteration}")}, step=iteration)

    def finish(self, status: runs.Status) -> None:
        """Exit code 0 for a run that finished; our status in the summary."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "finished" else 1)


BACKENDS: dict[str, Callable[[Config, Path], Backend]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}
