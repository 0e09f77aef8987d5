"""Runs in a notebook: `from dcgan_exp import load_run, train, compare`. The command line uses the same functions."""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcgan_exp import config, console, runs
from dcgan_exp.images import Pixels, read_grid

if TYPE_CHECKING:
    from dcgan_exp.sampling import Generator


class LoadedRun:
    """A run folder, in whatever state the run is; nothing is read before it is asked for, nor written ever."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._run = runs.read(self.folder)

    @property
    def status(self) -> runs.Status:
        """running, finished, failed, interrupted or killed."""
        return runs.read(self.folder).status

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds: times, versions, data, the last metrics."""
        return dict(runs.read(self.folder).record)

    @cached_property
    def config(self) -> config.Config:
        """The experiment, as `config.model.generator.widths`. Raises ConfigError where a value can't be used."""
        return config.from_mapping(self._run.config())

    @property
    def metrics(self) -> dict[str, npt.NDArray[np.float64]]:
        """The columns of metrics.csv by name; NaN where a row has no value."""
        columns = self._run.metrics().items()
        return {
            name: np.array([np.nan if value is None else value for value in values], np.float64)
            for name, values in columns
        }

    @property
    def images(self) -> dict[int, Pixels]:
        """The grids' single images by iteration, uint8 (n, height, width, channels)."""
        return {iteration: read_grid(path) for iteration, path in self._run.samples().items()}

    @cached_property
    def generator(self) -> "Generator":
        """`generator(latents)` gives float32 images in [-1, 1], `generator.sample(64, seed=1)` uint8 ones."""
        return self.load_generator()

    def load_generator(self, checkpoint: str | int | None = None, raw: bool = False) -> "Generator":
        """Another of the run's generators: of an iteration, `best` or `last`; `raw` for the plain weights."""
        with console.native_noise_silenced():
            from dcgan_exp import sampling

        return sampling.load_generator(runs.read(self.folder), None if checkpoint is None else str(checkpoint), raw)

    def __repr__(self) -> str:
        return f"<run {self.folder}: {self.status} at iteration {self.record.get('iteration', 0)}>"


def load_run(folder: str | Path) -> LoadedRun:
    """Open a run folder. Raises RunError where it is none."""
    return LoadedRun(folder)


def train(*overrides: str, folder: str | Path | None = None, **values: Any) -> LoadedRun:
    """Run an experiment: `train("model=wide", "optimizer.beta_1=0.5", batch_size=64)`.

    Overrides are those of `python run.py`. `folder` null is one of its own below outputs/. Raises ConfigError where
    one can't be used, before anything is written; how the run ended is the `status` of what is returned.
    """
    from dcgan_exp import data, trackers

    settings = config.compose([*overrides, *(f"{key}={_yaml(value)}" for key, value in values.items())])
    trackers.check_installed(settings.tracker)
    dataset = data.load(settings.data)
    if dataset.warning:
        console.warn(dataset.warning)
    with console.native_noise_silenced():
        from dcgan_exp import training

    now = datetime.now()
    place = Path(folder) if folder else Path("outputs", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S}-{token_hex(3)}")
    training.train(settings, dataset, place)
    return LoadedRun(place)


def _yaml(value: Any) -> str:
    from dcgan_exp.combinations import quoted

    if isinstance(value, str):
        return quoted(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def compare(
    *paths: str | Path, where: str | None = None, group_by: Sequence[str] = (), sort: str | None = None
) -> list[dict[str, Any]]:
    """The runs at and below the paths (default outputs/) as flat mappings: facts, configuration, last and best metrics.

    `pandas.DataFrame(compare("outputs"))` is a table of them. `where`, `group_by` and `sort` are those of
    `dcgan-exp compare`, and what it would say of folders that can't be read is said here. Raises CompareError, and
    RunError where there are no runs.
    """
    from dcgan_exp import comparison, exports, fairness, index

    entries, notes = index.read_all([Path(path) for path in paths or ("outputs",)])
    if not entries:
        raise runs.RunError("; ".join(notes) or "no runs to compare")
    rows = comparison.build(entries)
    comparison.diagnose_grids(rows)
    if where:
        rows = comparison.where(rows, where)
    for note in (*notes, *fairness.warnings(rows)):
        console.warn(note)
    if group_by:
        rows = comparison.grouped(rows, group_by)
    if sort:
        rows = comparison.ranked(rows, sort)
    return exports.records(rows, exports.export_columns(rows))
