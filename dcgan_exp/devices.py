"""What a run computes on: the processor, a GPU, several GPUs, several hosts.

Several devices share each batch. Every one holds a GAN of its own, a replica; the replicas take the same steps along
the mean of their gradients and so stay equal. tf.distribute runs them and does the sums between them. One device
needs none of it.
"""

import contextlib
import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dcgan_exp import console, runs, workers
from dcgan_exp.config import XLA_ON_PROCESSORS, Config, ConfigError, flatten, to_dict
from dcgan_exp.data import Dataset
from dcgan_exp.gan import GAN
from dcgan_exp.workers import Workers

# What may differ between workers: where a host keeps its files, and what only the chief uses.
OWN_KEYS = ("name", "threads", "data.path", "data.fallback", "tracker.")


# Which devices -----------------------------------------------------------------------------------


def kind(config: Config) -> str:
    """GPU where there is one and it is not declined, else CPU."""
    return "GPU" if config.devices != "cpu" and tf.config.list_physical_devices("GPU") else "CPU"


def count(config: Config) -> int:
    """The devices of each worker."""
    return int(config.devices) if config.devices.isdecimal() else 1


def described(config: Config) -> str:
    """`1 CPU`, `1 GPU and XLA`, `2 workers with 1 CPU`: the bits of a result depend on it."""
    number = workers.of(config.workers).count
    of_all = f"{number} workers with " if number > 1 else ""
    return f"{of_all}{count(config)} {kind(config)}{' and XLA' if is_compiled(config) else ''}"


def check(config: Config) -> None:
    """Raises ConfigError where this machine lacks the devices, or they can't do what is asked for."""
    team, wanted, processors = workers.of(config.workers), count(config), _processors()
    gpus = len(tf.config.list_physical_devices("GPU"))
    if config.devices == "gpu" and not gpus:
        raise ConfigError("devices", "gpu", "TensorFlow finds no GPU here: give auto or cpu")
    if gpus and wanted > gpus:
        found = "is 1 GPU" if gpus == 1 else f"are {gpus} GPUs"
        raise ConfigError("devices", wanted, f"here {found}: give at most {gpus}")
    if not gpus and wanted > (processors if team.count == 1 else 1):
        raise ConfigError("devices", wanted, "TensorFlow finds no GPU here, and the processor counts as 1 device")
    together = wanted * team.count
    if config.batch_size % together:
        raise ConfigError(
            "batch_size", config.batch_size, f"{together} devices share it equally: a multiple of {together} is needed"
        )
    if config.xla and kind(config) == "CPU":
        raise ConfigError("xla", "true", XLA_ON_PROCESSORS)
    if config.xla and together > 1:
        raise ConfigError("xla", "true", f"it compiles the step of one device, here are {together}: give null or false")


def is_compiled(config: Config) -> bool:
    """Whether XLA compiles the step."""
    is_single_gpu = kind(config) == "GPU" and count(config) * workers.of(config.workers).count == 1
    return is_single_gpu if config.xla is None else config.xla


def _processors() -> int:
    """The logical devices of the processor: 1, unless this process has divided it."""
    processor = tf.config.list_physical_devices("CPU")[0]
    return len(tf.config.get_logical_device_configuration(processor) or [processor])


def configure(config: Config) -> None:
    """Let TensorFlow see the run's GPUs only, and take their memory as it is needed; before it runs anything."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return
    visible = gpus[: count(config)] if kind(config) == "GPU" else []
    try:
        tf.config.set_visible_devices(visible, "GPU")
        for gpu in visible:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:  # it has run already: a caller's process
        if len(tf.config.list_logical_devices("GPU")) < len(visible) or not visible:
            told = "TensorFlow works with others in this process already"
            raise ConfigError("devices", config.devices, told) from None


# Replicas ----------------------------------------------------------------------------------------


class DistributedGAN(GAN):
    """A GAN of several replicas, the first of this process's devices being itself."""

    def __init__(self, config: Config, images: NDArray[np.uint8], strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        devices = strategy.extended.worker_devices
        with tf.device(devices[0]):
            super().__init__(config, images)
        self.replicas: list[GAN] = [self]
        for device in devices[1:]:
            with tf.device(device):
                self.replicas.append(GAN(config, images))
        # Inside of what the strategy runs, a replica's own number is a tensor.
        self._numbers = strategy.experimental_distribute_values_from_function(
            lambda context: context.replica_id_in_sync_group % len(devices)
        )

    def iterate(self, iteration: tf.Tensor) -> tf.Tensor:
        """One iteration of all replicas. Returns the values of MEASURES over the whole batch."""

        def of_one(number: int) -> tf.Tensor:
            return GAN.iterate(self.replicas[number], iteration)

        return self.strategy.experimental_local_results(self.strategy.run(of_one, (self._numbers,)))[0]

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set every variable of every replica."""
        for replica in self.replicas:
            GAN.restore(replica, state)

    @tf.function(autograph=False, reduce_retracing=True)
    def total(self, values: tf.Tensor) -> tf.Tensor:
        """The sum of each worker's int64 `values`, of the same shape on all of them."""

        def of_one(number: int) -> tf.Tensor:
            own = tf.identity(values) if number == 0 else tf.zeros_like(values)  # on the replica's device
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)

        return self.strategy.experimental_local_results(self.strategy.run(of_one, (self._numbers,)))[0]


# Two strategies of one process would disturb each other's sums.
@cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(names)


@cache
def _multi_worker(source: str) -> tf.distribute.Strategy:
    resolver = _slurm() if source == "slurm" else tf.distribute.cluster_resolver.TFConfigClusterResolver()
    with _ended_by_ctrl_c():
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


@contextlib.contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """At once: TensorFlow waits for the other workers where no handler of Python's is heard. Nothing is done yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _slurm() -> tf.distribute.cluster_resolver.ClusterResolver:
    """TensorFlow's own, told one accelerator a task so that it works without any; Slurm deals out the GPUs itself."""
    tasks = max(int(part.partition("(")[0]) for part in os.environ["SLURM_STEP_TASKS_PER_NODE"].split(","))
    # Ports of its own for each job step, since several may share a host.
    step = int(os.environ.get("SLURM_JOB_ID", "0")) * 7 + int(os.environ.get("SLURM_STEP_ID", "0"))
    return tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=20_000 + step % 400 * 100, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    )


# Workers -----------------------------------------------------------------------------------------


class Team:
    """The workers of a run, which do the same iterations in step. The first of them, the chief, decides and writes."""

    def __init__(self, gan: GAN, members: Workers, experiment: str = "") -> None:
        self.gan, self.members, self.experiment = gan, members, experiment
        self._is_over = members.count == 1

    def start(self, iteration: int) -> int:
        """Give every worker the chief's state. Returns the chief's iteration. Raises RunError where they differ."""
        if self.members.count == 1:
            return iteration
        digest = int.from_bytes(hashlib.sha256(self.experiment.encode()).digest()[:7])
        facts = np.zeros([self.members.count, 2], np.int64)
        facts[self.members.index] = digest, iteration
        facts = self._total(facts)
        differing = [str(index) for index in range(1, self.members.count) if facts[index, 0] != facts[0, 0]]
        if differing:
            self._is_over = True
            raise runs.RunError(f"worker {', '.join(differing)} has another configuration or other data than worker 0")
        own = self.gan.state()
        packed = b"".join(own[name].tobytes() for name in sorted(own))
        packed += bytes(-len(packed) % 8)
        numbers = np.frombuffer(packed, np.int64)
        packed = self._total(numbers if self.members.is_chief else np.zeros_like(numbers)).tobytes()
        state, position = {}, 0
        for name in sorted(own):
            size = own[name].nbytes
            state[name] = np.frombuffer(packed[position : position + size], own[name].dtype).reshape(own[name].shape)
            position += size
        self.gan.restore(state)
        return int(facts[0, 1])

    def agreed(self, count: int) -> int:
        """How many iterations come next: what the chief proposes, or 0, the end, where any worker proposes that."""
        if self._is_over:
            return count if self.members.count == 1 else 0
        proposed, ends = self._total(np.array([count if self.members.is_chief else 0, count == 0], np.int64))
        self._is_over = bool(ends)
        return 0 if ends else int(proposed)

    def dismiss(self) -> None:
        """Let the others know of the end, where they don't yet."""
        with contextlib.suppress(runs.RunError):
            self.agreed(0)

    def train(self, iteration: int, count: int) -> tuple[dict[str, float], int | None]:
        """`GAN.train`. Raises RunError where a worker is lost meanwhile."""
        with self._told():
            return self.gan.train(iteration, count)

    def _total(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        assert isinstance(self.gan, DistributedGAN)
        with self._told():
            return np.array(self.gan.total(tf.constant(values)))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._is_over = True  # the others wait for another sum than an end would be
            if self.members.count > 1 and isinstance(error, tf.errors.OpError):
                raise runs.RunError(f"another worker is lost: {type(error).__name__}") from error
            raise


@contextlib.contextmanager
def team(config: Config, dataset: Dataset) -> Iterator[Team]:
    """The GAN on the devices that the configuration asks for, and the workers that train it together."""
    check(config)
    members = workers.of(config.workers)
    if members.count > 1:
        console.say(f"worker {members.index} of {members.count} waits for the others to start")
        gan: GAN = DistributedGAN(config, dataset.images, _multi_worker(config.workers))
    elif count(config) > 1:
        names = tuple(f"{kind(config)}:{number}" for number in range(count(config)))
        gan = DistributedGAN(config, dataset.images, _mirrored(names))
    else:
        gan = GAN(config, dataset.images, is_compiled(config))
    own = {key: value for key, value in flatten(to_dict(config)) if not key.startswith(OWN_KEYS)}
    together = Team(gan, members, json.dumps([own, dataset.fingerprint]))
    try:
        yield together
    finally:
        together.dismiss()
