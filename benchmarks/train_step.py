"""Iterations a second of this project's step beside the listing's own loop, on the machine it runs on.

    python benchmarks/train_step.py                      # three rounds, a few minutes
    python benchmarks/train_step.py --rounds 5 --iterations 30 --batch-size 64

The contenders take turns, so that a machine whose speed drifts is fair to all; medians and ratios are printed.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from dcgan_exp.config import Config, compose
from dcgan_exp.gan import GAN
from dcgan_exp.training import configure_tensorflow

CONTENDERS = {
    "update=book, float32": ("update=book",),
    "update=book, mixed_bfloat16": ("update=book", "precision=mixed_bfloat16"),
    "update=shared, float32": ("update=shared",),
    "update=shared, mixed_bfloat16": ("update=shared", "precision=mixed_bfloat16"),
    "experiment=fast": ("experiment=fast",),
    "experiment=best": ("experiment=best",),
}


def listing_networks() -> tuple[keras.Model, keras.Model]:
    """The listing's generator and discriminator (with its sigmoid), written with Keras alone."""
    layers = keras.layers
    generator = keras.Sequential(
        [
            keras.Input((100,)),
            layers.Dense(256 * 7 * 7),
            layers.Reshape((7, 7, 256)),
            layers.Conv2DTranspose(128, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.LeakyReLU(negative_slope=0.01),
            layers.Conv2DTranspose(64, 3, strides=1, padding="same"),
            layers.BatchNormalization(),
            layers.LeakyReLU(negative_slope=0.01),
            layers.Conv2DTranspose(1, 3, strides=2, padding="same"),
            layers.Activation("tanh"),
        ]
    )
    discriminator = keras.Sequential([keras.Input((28, 28, 1))])
    for width in (32, 64, 128):
        discriminator.add(layers.Conv2D(width, 3, strides=2, padding="same"))
        discriminator.add(layers.LeakyReLU(negative_slope=0.01))
    discriminator.add(layers.Flatten())
    discriminator.add(layers.Dense(1, activation="sigmoid"))
    return generator, discriminator


def listing_loop(images: np.ndarray, batch_size: int) -> Callable[[int], None]:
    """The listing's loop of train_on_batch calls, arranged so that D really trains on Keras 3."""
    generator, discriminator = listing_networks()
    stacked = keras.Sequential([generator, discriminator])
    discriminator.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(), metrics=["accuracy"])
    stacked.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam())
    pixels = images / 127.5 - 1.0
    real, fake = np.ones((batch_size, 1)), np.zeros((batch_size, 1))
    random = np.random.default_rng(0)

    def run(iterations: int) -> None:
        for _ in range(iterations):
            batch = pixels[random.integers(0, len(pixels), batch_size)]
            latents = random.normal(0, 1, (batch_size, 100))
            generated = generator.predict(latents, verbose=0)
            discriminator.trainable = True  # each function is traced with the value that it needs
            discriminator.train_on_batch(batch, real)
            discriminator.train_on_batch(generated, fake)
            discriminator.trainable = False
            stacked.train_on_batch(latents, real)

    return run


def our_loop(images: np.ndarray, overrides: tuple[str, ...], batch_size: int) -> Callable[[int], None]:
    """This project's compiled step, with the configuration that the overrides give."""
    config: Config = compose([*overrides, f"batch_size={batch_size}"])
    gan, done = GAN(config, images), 0

    def run(iterations: int) -> None:
        nonlocal done
        gan.train(done, iterations)
        done += iterations

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=40, help="iterations of each contender in a round")
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    configure_tensorflow(Config())
    # The step's time does not depend on what the images show.
    images = np.random.default_rng(0).integers(0, 256, (60000, 28, 28, 1), dtype=np.uint8)
    loops = {"the listing's loop": listing_loop(images, arguments.batch_size)}
    loops |= {name: our_loop(images, overrides, arguments.batch_size) for name, overrides in CONTENDERS.items()}
    for loop in loops.values():
        loop(3)  # traced and warm
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(arguments.rounds):
        for name, loop in loops.items():
            started = time.perf_counter()
            loop(arguments.iterations)
            seconds[name].append((time.perf_counter() - started) / arguments.iterations)
    listing = seconds["the listing's loop"]
    for name, own in seconds.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(listing, own, strict=True))
        print(f"{name:32} {1000 * statistics.median(own):7.1f} ms an iteration  {ratio:5.2f} x the listing's speed")


if __name__ == "__main__":
    main()
