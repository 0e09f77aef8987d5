"""What a run leaves in its folder while it trains: checkpoints, networks, pictures. The training loop decides when."""

import contextlib
import ctypes
import dataclasses
import gc
import json
import time
import zipfile
from pathlib import Path

import keras

from dcgan_exp import checkpoints, images, runs
from dcgan_exp.checkpoints import Checkpoint
from dcgan_exp.config import to_dict
from dcgan_exp.evaluation import Evaluation
from dcgan_exp.gan import GAN
from dcgan_exp.models import build_generator, stock_copy

CURVES_SECONDS = 30.0  # drawing them costs half a second
GRID_IMAGES = 16


@dataclasses.dataclass
class Position:
    """How far a run has come."""

    iteration: int = 0
    seconds: float = 0.0  # of training
    measures: dict[str, float] = dataclasses.field(default_factory=dict)


def save_best(gan: GAN, evaluation: Evaluation, folder: Path) -> None:
    """Write the generator that scored best, or remove what lies in its place where none was scored yet."""
    path = runs.network_path(folder, "generator_best")
    if evaluation.best is None:
        path.unlink(missing_ok=True)
    else:
        save_network(stock_copy(evaluation.weights, build_generator, gan.architecture), path)


def save(gan: GAN, evaluation: Evaluation, recorder: runs.Recorder, now: Position) -> None:
    """Write the checkpoint of this iteration, unless it is there, and remove those that are older than is asked for."""
    path = runs.checkpoint_path(recorder.folder, now.iteration)
    if not path.exists():
        checkpoint = Checkpoint(
            **dataclasses.asdict(now), config=to_dict(gan.config), record=recorder.record, grids=dict(recorder.grids),
            log_bytes=runs.log_bytes(recorder.folder), metrics=bytes(recorder.metrics),
            arrays={**gan.state(), **evaluation.arrays()},
        )  # fmt: skip
        checkpoints.save(path, checkpoint)
    for older in runs.checkpoint_paths(recorder.folder)[gan.config.keep_checkpoints :]:
        older.unlink()
    return_free_memory()


def return_free_memory() -> None:
    """Give back what a checkpoint's copies and a figure's circular references leave; else the process keeps growing."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def save_networks(gan: GAN, folder: Path) -> None:
    """Write the networks as Keras files."""
    for name, network in gan.stock_networks().items():
        save_network(network, runs.network_path(folder, name))


def save_network(network: keras.Model, path: Path) -> None:
    """Write a Keras file; equal networks give equal bytes."""
    with runs.whole_file(path) as temporary:
        network.save(temporary)
        _forget_time(temporary)


def _forget_time(path: Path) -> None:
    """Take the date of saving out of a Keras file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    facts = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({**facts, "date_saved": "1980-01-01@00:00:00"}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)


class Draw:
    """The pictures of a run."""

    def __init__(self, gan: GAN, recorder: runs.Recorder) -> None:
        self.gan, self.recorder, self.folder = gan, recorder, recorder.folder
        config = gan.config
        # Nothing of the folder's name: the same experiment gives the same picture.
        self.title = config.name or f"{config.data.name}, {config.model.name}, {config.loss.name}, seed {config.seed}"
        self.latents = gan.sample_latents(GRID_IMAGES)
        self.drawn = time.monotonic()

    def grid(self, iteration: int) -> None:
        """The grid of the fixed latents at an iteration."""
        generated = images.to_uint8(self.gan.generate(self.latents).numpy())
        self.recorder.write_grid(iteration, images.grid_png(generated))

    def curves(self) -> None:
        """Losses and accuracies against iterations."""
        metrics = runs.Run(self.folder, {}).metrics()
        runs.write_whole(self.folder / runs.CURVES, images.curves_png(metrics, self.title))
        return_free_memory()
        self.drawn = time.monotonic()

    def curves_now_and_then(self) -> None:
        """The same, where the last drawing is old enough."""
        if time.monotonic() - self.drawn > CURVES_SECONDS:
            self.curves()

    def animation(self) -> None:
        """All grids as one animation."""
        frames = list(runs.Run(self.folder, {}).samples().items())
        runs.write_whole(self.folder / runs.ANIMATION, images.animation_gif(frames))
