"""Scores of a run's generator: now and then while it trains, with the best one kept, or afterwards.

The latents that are scored are a function of `sample_seed` alone, so that two scores differ by the generator only.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dcgan_exp import images
from dcgan_exp.config import Config
from dcgan_exp.data import Dataset
from dcgan_exp.features import Note
from dcgan_exp.gan import GAN
from dcgan_exp.image_arrays import Images
from dcgan_exp.quality import Yardstick

CHOICE = "training_kernel_distance"  # what the best generator has least of; no test image plays a part
BEST = "best_generator"  # the arrays of a checkpoint
BATCH = 500  # latents drawn together
# Of images that are made together: the layers' outputs take up to hundreds of bytes a pixel.
PIXELS_AT_ONCE = BATCH * 28 * 28
DIGITS = 6  # of a score: metrics.csv and run.json agree


def latent_batches(count: int, latent_dim: int, sample_seed: int) -> Iterator[NDArray[np.float32]]:
    """The latents that are scored, N(0, 1), in batches of (at most 500, latent_dim)."""
    for number, first in enumerate(range(0, count, BATCH)):
        # Apart from the grids' seed, (sample_seed, 2), and, up to 12,000 images, from those of training: 1,024 on.
        seed = [sample_seed, 1_000 + number]
        yield tf.random.stateless_normal([BATCH, latent_dim], seed, alg="philox").numpy()[: count - first]


class Evaluation:
    """Scores a GAN in training, and keeps the weights of the generator that scored best."""

    def __init__(self, gan: GAN, dataset: Dataset) -> None:
        self.gan, self.dataset = gan, dataset
        self.best: dict[str, float] | None = None  # `iteration` and the scores there
        self.yardstick: Yardstick | None = None  # the real side, measured at the first score: some seconds
        self.weights: list[NDArray[Any]] = []  # of the best one, as in `GAN.sampled_generator.variables`

    @property
    def facts(self) -> dict[str, Any]:
        """What scores depend on, once there are any: where it differs, they can't be compared."""
        assert self.yardstick is not None
        return conditions(self.yardstick, self.gan.config, self.gan.config.eval_samples)

    def is_due(self, iteration: int) -> bool:
        """Whether the generator is to be scored at an iteration."""
        interval = self.gan.config.eval_interval
        return interval is not None and iteration > 0 and iteration % interval == 0

    def score(self, note: Note) -> dict[str, float]:
        """The scores of the generator as it is. `note` is told what is being done; what it raises ends it."""
        config, done = self.gan.config, 0
        text = f"scoring {config.eval_samples:,} images"
        drawn = np.empty((config.eval_samples, *config.data.image_shape), np.uint8)
        at_once = max(1, PIXELS_AT_ONCE // config.data.image_size**2)
        for latents in latent_batches(config.eval_samples, config.latent_dim, config.sample_seed):
            for first in range(0, len(latents), at_once):
                note(text)
                part = self.gan.generate(tf.constant(latents[first : first + at_once]))
                drawn[done : done + len(part)] = images.to_uint8(part.numpy())
                done += len(part)
        self.yardstick = self.yardstick or Yardstick(self.dataset, note=note)
        note(text)
        return rounded(self.yardstick.score(drawn))

    def keep_if_best(self, iteration: int, scores: dict[str, float]) -> bool:
        """Keep the generator as it is where it scored better than all before."""
        if self.best is not None and scores[CHOICE] >= self.best[CHOICE]:
            return False
        self.best = {"iteration": iteration, **scores}
        self.weights = [np.array(variable.value) for variable in self.gan.sampled_generator.variables]
        return True

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The best generator's part of a checkpoint."""
        return {f"{BEST}.{number:03}": weight for number, weight in enumerate(self.weights)}

    def restore(self, best: object, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take the best generator from a checkpoint's record and arrays, which may be a stranger's, if it fits."""
        wanted = [(variable.shape, variable.dtype) for variable in self.gan.sampled_generator.variables]
        weights = [array for _, array in sorted(best_part(arrays).items())]
        fits = [(tuple(shape), dtype) for shape, dtype in wanted] == [(a.shape, str(a.dtype)) for a in weights]
        if fits and isinstance(best, dict) and {type(best.get(CHOICE)), type(best.get("iteration"))} == {float, int}:
            self.best, self.weights = best, weights


def best_part(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of the best generator among those of a checkpoint."""
    return {name: array for name, array in arrays.items() if name.startswith(f"{BEST}.")}


def conditions(yardstick: Yardstick, config: Config, samples: int) -> dict[str, Any]:
    """What scores depend on, beside the generator."""
    return {**yardstick.facts, "samples": samples, "sample_seed": config.sample_seed}


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores as they are recorded."""
    return {name: round(value, DIGITS) for name, value in scores.items()}


def score_generator(
    config: Config, pixels: Callable[[NDArray[np.float32]], Images], yardstick: Yardstick, samples: int
) -> dict[str, float]:
    """The scores of a finished generator, latents -> uint8 images, on the latents of the run's own scores."""
    batches = latent_batches(samples, config.latent_dim, config.sample_seed)
    return rounded(yardstick.score(np.concatenate([pixels(latents) for latents in batches])))
