"""What synchronisation costs: two workers on this machine, a thread each, which share each batch by loopback.

    python benchmarks/devices.py                     # three rounds, about four minutes on two cores
    python benchmarks/devices.py --rounds 5 --iterations 30 model=narrow

Three arrangements take turns: two workers that train together; two processes that do the same work without a word to
each other, which is what the two would do if synchronising cost nothing; and one process with two threads. Medians
of their iterations' times are printed. Further arguments are overrides of the configuration.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
START_SECONDS = 300.0


def work(overrides: list[str], iterations: int) -> None:
    """One process: train, and print the milliseconds of an iteration."""
    from dcgan_exp import devices
    from dcgan_exp.config import compose
    from dcgan_exp.data import Dataset
    from dcgan_exp.training import configure_tensorflow

    config = compose(overrides)
    configure_tensorflow(config)
    # The step's time does not depend on what the images show.
    images = np.random.default_rng(0).integers(0, 256, (10000, 28, 28, 1), dtype=np.uint8)
    with devices.team(config, Dataset("noise", images, None, None, None, "here", "noise")) as team:
        team.start(0)
        team.train(0, 3)  # traced and warm
        team.agreed(1)  # both
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        team.train(3, iterations)
        print(1000 * (time.perf_counter() - started) / iterations, flush=True)


def measured(processes: int, overrides: list[str], iterations: int, together: bool) -> float:
    """The milliseconds of an iteration of processes that start it at the same instant; their mean."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("localhost", 0))
        addresses = [f"localhost:{each.getsockname()[1]}" for each in (first, second)]
    command = [sys.executable, __file__, "--work", "--iterations", str(iterations), *overrides]
    running = []
    for index in range(processes):
        names = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(names) if together else ""}
        running.append(
            subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
    for process in running:
        while process.stdout.readline().strip() != "ready":
            if process.poll() is not None:
                raise SystemExit(f"a worker ended with exit code {process.returncode}")
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    return statistics.mean(float(process.communicate(timeout=START_SECONDS)[0].split()[-1]) for process in running)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=40, help="iterations in a round")
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if options.work:
        work(options.overrides, options.iterations)
        return
    whole, half = f"batch_size={options.batch_size}", f"batch_size={options.batch_size // 2}"
    arrangements = {
        "two workers together": (2, ["threads=1", whole], True),
        "two processes apart, half the batch each": (2, ["threads=1", half], False),
        "one process, two threads": (1, ["threads=2", whole], False),
    }
    times: dict[str, list[float]] = {name: [] for name in arrangements}
    for _ in range(options.rounds):
        for name, (processes, own, together) in arrangements.items():
            overrides = [*own, *options.overrides]
            times[name].append(measured(processes, overrides, options.iterations, together))
            print(f"{name}: {times[name][-1]:.1f} ms", file=sys.stderr)
    for name, own in times.items():
        print(f"{name:42} {statistics.median(own):7.1f} ms an iteration")
    together, apart, _ = times.values()
    ratios = [one / other for one, other in zip(together, apart, strict=True)]
    print(f"overhead of synchronising: {100 * (statistics.median(ratios) - 1):.0f} % (each round's ratio, median)")


if __name__ == "__main__":
    main()
