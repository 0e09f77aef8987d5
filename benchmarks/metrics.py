"""Seconds and memory of the quality yardstick for 10,000 generated images of 28x28, on the machine it runs on.

    python benchmarks/metrics.py --data-path mnist.npz      # the full MNIST: half a minute
    python benchmarks/metrics.py --data mnist_5k            # offline
    python benchmarks/metrics.py --cost training=quick      # and the share of that run's time that its scores take

It also prints the floor: what training images score.
"""

import argparse
import os
import resource
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from dcgan_exp.config import compose
from dcgan_exp.data import Dataset, load
from dcgan_exp.evaluation import Evaluation
from dcgan_exp.gan import GAN
from dcgan_exp.quality import Yardstick


def print_cost(dataset: Dataset, overrides: list[str], rounds: int = 3, iterations: int = 30) -> None:
    """What a run's scores take beside its iterations, which take turns."""
    config = compose(overrides)
    assert config.eval_interval is not None
    gan = GAN(config, dataset.images)
    evaluation = Evaluation(gan, dataset)
    gan.train(0, 3)  # traced and warm
    evaluation.score(lambda _: None)
    training, scoring = [], []
    for turn in range(rounds):
        started = time.perf_counter()
        gan.train(3 + turn * iterations, iterations)
        training.append((time.perf_counter() - started) / iterations)
        started = time.perf_counter()
        evaluation.score(lambda _: None)
        scoring.append(time.perf_counter() - started)
    share = statistics.median(s / (config.eval_interval * t) for s, t in zip(scoring, training, strict=True))
    print(
        f"{' '.join(['run.py', *overrides])}: an iteration {1e3 * statistics.median(training):.0f} ms, a score "
        f"{statistics.median(scoring):.1f} s: {share:.1%} more at eval_interval={config.eval_interval}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-path")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--cost", nargs="*", metavar="OVERRIDE", help="of the run that these overrides make")
    chosen = parser.parse_args()
    dataset = load(
        compose([f"data={chosen.data}", *([f"data.path={chosen.data_path}"] if chosen.data_path else [])]).data
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.perf_counter()
    yardstick = Yardstick(dataset)
    print(f"network {yardstick.facts['network']}, sha256 {yardstick.facts['sha256']}")
    print(f"reference: {yardstick.facts['reference_images']:,} {yardstick.facts['reference']}")
    print(f"the real side, once: {time.perf_counter() - started:.1f} s")
    images = dataset.images[np.random.default_rng(1).permutation(len(dataset.images))[: chosen.samples]]
    for turn in ("first", "second"):
        started, worked = time.perf_counter(), time.process_time()
        scores = yardstick.score(images)
        seconds, processor_seconds = time.perf_counter() - started, time.process_time() - worked
        print(f"{len(images):,} samples, {turn} time: {seconds:.1f} s, {processor_seconds:.1f} s of processor time")
    started = time.perf_counter()
    yardstick.network(images)
    print(f"of which features: {time.perf_counter() - started:.1f} s")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, {before:.2f} GB before")
    print("the floor, by real training images:")
    for name, value in scores.items():
        print(f"  {name:30} {value:.5f}")
    if chosen.cost is not None:
        print_cost(dataset, chosen.cost)


if __name__ == "__main__":
    main()
