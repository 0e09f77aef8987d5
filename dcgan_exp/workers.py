"""The processes that train together, as their environment names them. This module never imports TensorFlow."""

import json
import os
from dataclasses import dataclass

from dcgan_exp.config import ConfigError

EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
SLURM_VARIABLES = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")


@dataclass(frozen=True)
class Workers:
    """How many there are, and which of them this process is."""

    count: int = 1
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process decides, writes and talks for all."""
        return self.index == 0


def of(source: str) -> Workers:
    """`source` is `tf_config` or `slurm`. Raises ConfigError where what the environment says can't be used."""
    return from_slurm() if source == "slurm" else from_tf_config()


def from_tf_config() -> Workers:
    """As TensorFlow reads TF_CONFIG; without it, this process alone."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return Workers()
    try:
        values = json.loads(text)
        cluster, task = values.get("cluster", {}), values.get("task", {"type": "worker", "index": 0})
        if not set(cluster) <= {"chief", "worker"}:
            raise ValueError
        addresses = [(kind, index) for kind in ("chief", "worker") for index in range(len(cluster.get(kind, [])))]
        return Workers(len(addresses), addresses.index((task["type"], int(task["index"])))) if cluster else Workers()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError("TF_CONFIG", text, f"JSON is needed, such as {EXAMPLE}") from None


def from_slurm() -> Workers:
    """The tasks of the job step that this process is one of."""
    missing = [name for name in SLURM_VARIABLES if name not in os.environ]
    if missing:
        raise ConfigError("workers", "slurm", f"{missing[0]} is not set: start it in a job step, with srun")
    try:
        return Workers(int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ["SLURM_PROCID"]))
    except ValueError:
        raise ConfigError("workers", "slurm", "SLURM_STEP_NUM_TASKS and SLURM_PROCID must be numbers") from None
