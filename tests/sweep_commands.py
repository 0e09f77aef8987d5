"""Real sweeps of tiny runs, and jobs that go wrong on purpose."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "data=mnist_5k", "batch_size=8", "iterations=4", "sample_interval=2", "checkpoint_interval=2", "latent_dim=4",
    "model.generator.widths=[8,4,4]", "model.discriminator.widths=[4,4,4]",
]  # fmt: skip
RAISE, EXIT, KILL, HANG = 101, 102, 103, 104  # seeds

# Python runs it at the start of every process below this folder: it spoils GAN.train as the seed says.
SABOTAGE = f"""
import importlib.abc, importlib.machinery, os, sys, time

def spoil(module):
    original = module.GAN.train
    def train(self, first, count):
        seed = self.config.seed
        if seed == {RAISE}:
            raise ValueError("broken on purpose")
        if seed == {EXIT}:
            sys.exit(3)
        if seed == {KILL}:
            os.kill(os.getpid(), 9)
        while seed == {HANG}:
            time.sleep(1)
        time.sleep(float(os.environ.get("SLOW", "0")))
        return original(self, first, count)
    module.GAN.train = train

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "dcgan_exp.gan":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), spoil(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


def environment(folder: Path, slow: float = 0.0) -> dict[str, str]:
    """An environment in which the seeds above go wrong and each chunk of iterations takes longer."""
    place = folder / "sabotage"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(SABOTAGE)
    return {**os.environ, "PYTHONPATH": str(place), "SLOW": str(slow)}


def command(*overrides: str) -> list[str]:
    """A sweep of tiny runs."""
    return [sys.executable, str(ROOT / "run.py"), "-m", *TINY, *overrides]


def run(
    words: list[str], cwd: Path, env: dict[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def resume(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Continue a sweep."""
    return run([sys.executable, "-m", "dcgan_exp", "resume", str(folder), *words], folder.parent, env)
