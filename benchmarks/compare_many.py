"""How long `compare` takes over many run folders, and how much memory: 50-key configurations, 20-row metrics.

    python benchmarks/compare_many.py [COUNT ...]        default: 1000 10000

The folders are made in a temporary folder, and the index lies there too.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from dcgan_exp import runs
from dcgan_exp.config import Config, flatten, to_dict

TARGETS = {1000: (1.5, None), 10000: (12.0, 2.0)}  # seconds: the first time, the second


def make_folders(root: Path, count: int) -> None:
    """Run folders as a sweep leaves them; written plainly, since the Recorder waits for the disk."""
    draw = random.Random(0)
    config = Config()
    config.model.generator.widths = [256, 128, 64]
    assert len(list(flatten(to_dict(config)))) >= 45
    for number in range(count):
        folder = root / f"sweeps/2026-01-{number // 1000 + 1:02}/12-00-00/{number}-job"
        (folder / runs.CONFIG).parent.mkdir(parents=True)
        (folder / runs.SAMPLES).mkdir()
        config.seed, config.batch_size = number % 5, draw.choice([32, 64, 128])
        config.optimizer.learning_rate = draw.choice([1e-4, 2e-4, 1e-3])
        extra = {"notes": {f"key_{place}": place for place in range(50 - 48)}}
        (folder / runs.CONFIG).write_text(yaml.dump(to_dict(config) | extra, Dumper=yaml.CSafeDumper, sort_keys=False))
        lines = [",".join(runs.COLUMNS)]
        for row in range(1, 21):
            values = [draw.random() for _ in range(5)]
            lines.append(f"{1000 * row},{128000 * row}," + ",".join(f"{value:.6f}" for value in values) + f",{row}.5")
        (folder / runs.METRICS).write_text("\n".join(lines) + "\n")
        record = {"name": None, "status": "finished", "reason": None, "iteration": 20000, "seconds": 21.5, "host": "x",
                  "versions": {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"}, "git_commit": "a" * 40,
                  "data": {"name": "mnist", "size": 60000, "fingerprint": "f" * 64}}  # fmt: skip
        (folder / runs.RECORD).write_text(json.dumps(record, indent=2))


def measure(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of one `python -m dcgan_exp compare`."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "dcgan_exp", "compare", *arguments], stdout=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print a line for each count."""
    print(f"--help: {measure(['--help'], Path('/nonexistent'))[0]:.2f} s (target 0.5)")
    for count in [int(text) for text in sys.argv[1:]] or [1000, 10000]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "outputs"
            make_folders(root, count)
            time.sleep(2.5)  # what was written this instant is not remembered
            first, first_megabytes = measure([str(root)], Path(folder) / "cache")
            second, second_megabytes = measure([str(root)], Path(folder) / "cache")
            targets = TARGETS.get(count, (None, None))
            print(
                f"{count} runs: {first:.2f} s and {first_megabytes:.0f} MB the first time (target {targets[0]} s), "
                f"{second:.2f} s and {second_megabytes:.0f} MB after (target {targets[1]} s); both under 700 MB"
            )


if __name__ == "__main__":
    main()
