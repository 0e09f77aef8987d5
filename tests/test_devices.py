"""Several devices and workers against one: the same losses, one writer, and what can't be is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from dcgan_exp import checkpoints, devices, resuming, runs
from dcgan_exp.config import Config, ConfigError, compose
from dcgan_exp.data import Dataset
from dcgan_exp.gan import GAN

Make = Callable[..., Config]
ROOT = Path(__file__).resolve().parent.parent
MEASURES = ("d_loss", "g_loss")


SMALL = [  # as the fixture small_config
    "data=mnist_5k", "batch_size=8", "iterations=6", "sample_interval=2", "latent_dim=10", "threads=1",
    "model.generator.widths=[16,8,8]", "model.discriminator.widths=[4,8,8]",
]  # fmt: skip


def two_devices(overrides: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """What tests/two_devices.py finds."""
    command = [sys.executable, str(ROOT / "tests" / "two_devices.py"), str(folder or "-"), *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(found: dict[str, Any], tolerance: float = 2e-4, moved: float = 1e-3) -> None:
    """Equal losses; `moved`: how far the optimizer may have carried a bias whose gradient is round-off only."""
    assert found["replicas_are_equal"]
    assert found["names_are_equal"]
    for one, two in zip(found["one"], found["two"], strict=True):
        for key in MEASURES:
            assert two[key] == pytest.approx(one[key], rel=tolerance, abs=tolerance), key
    weights = [value for name, value in found["difference"].items() if "optimizer" not in name]
    assert max(weights) < moved


# Everything that looks at more than one image, or draws, is in one of these.
FAST = (
    "update=shared data.flip=true model.discriminator.normalization=batch regularizer=r1 augment=ada ema=average"
    " optimizer=adamw"
)
SLOW = [
    "update=book model.discriminator.dropout=0.3",
    "update=shared loss=wasserstein regularizer=gradient_penalty update.discriminator_steps=2 optimizer.clipnorm=0.5",
    "update=shared loss=relativistic regularizer=r1_r2 augment=diffaugment schedule=linear",
    "update=shared loss=hinge model.discriminator.normalization=spectral optimizer=sgd",
    "update=shared model.discriminator.normalization=layer optimizer=rmsprop precision=mixed_bfloat16",
    "update=shared precision=mixed_float16",
]


def test_two_devices_train_as_one_does_and_one_goes_on_with_their_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = two_devices([*SMALL, *FAST.split(), "iterations=4"], tmp_path / "run")
    compare(found)
    record = runs.read(tmp_path / "run").record
    assert (found["status"], record["devices"]) == ("finished", "2 CPU")
    run = runs.read(tmp_path / "run").metrics()
    assert run["d_loss"][-1] == pytest.approx(found["one"][-1]["d_loss"], rel=2e-4)
    outcome = resuming.resume(tmp_path / "run", ["iterations=6", "devices=auto"])
    assert outcome.status == "finished"
    assert "devices: 1 CPU now, 2 CPU before: the result will not be bit-identical" in capsys.readouterr().err
    assert runs.read(tmp_path / "run").record["devices"] == "1 CPU"


@pytest.mark.slow
@pytest.mark.parametrize("variant", SLOW)
def test_two_devices_train_each_variant_as_one_does(variant: str) -> None:
    found = two_devices([*SMALL, *variant.split()])
    compare(found, *((0.03, 4e-3) if "mixed" in variant else ()))


@pytest.mark.slow
def test_per_replica_normalization_is_another_experiment() -> None:
    found = two_devices([*SMALL, "update=shared", "batch_normalization=per_replica"])
    assert found["replicas_are_equal"]
    assert found["two"][0]["d_loss"] != pytest.approx(found["one"][0]["d_loss"], rel=2e-4)


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "gpus", "told"),
    [
        (["devices=gpu"], 0, "devices=gpu: TensorFlow finds no GPU here: give auto or cpu"),
        (["devices=4"], 0, "devices=4: TensorFlow finds no GPU here, and the processor counts as 1 device"),
        (["devices=4"], 2, "devices=4: here are 2 GPUs: give at most 2"),
        (["devices=2"], 1, "devices=2: here is 1 GPU: give at most 1"),
        (["devices=2", "batch_size=33"], 2, "batch_size=33: 2 devices share it equally: a multiple of 2 is needed"),
        (["xla=true"], 0, "xla=true: on a processor it makes an iteration many times slower: give null or false"),
        (["xla=true", "devices=2"], 2, "xla=true: it compiles the step of one device, here are 2: give null or false"),
    ],
)
def test_devices_that_are_not_there_are_told(
    overrides: list[str], gpus: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(gpus, monkeypatch)
    with pytest.raises(ConfigError) as error:
        devices.check(compose(overrides))
    assert str(error.value) == told


@pytest.mark.parametrize("override", ["devices=many", "devices=0", "devices=-1", "devices=1.5", "workers=none"])
def test_what_names_no_devices_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"^(devices|workers)=.*choose from"):
        compose([override])


def test_xla_is_refused_on_a_processor_before_tensorflow_is_asked() -> None:
    with pytest.raises(ConfigError, match="xla=true: on a processor"):
        compose(["xla=true", "devices=cpu"])


@pytest.mark.parametrize(
    ("overrides", "gpus", "expected"),
    [
        ([], 0, ("CPU", 1, False)),
        (["devices=1"], 0, ("CPU", 1, False)),
        ([], 2, ("GPU", 1, True)),
        (["xla=false"], 2, ("GPU", 1, False)),
        (["devices=gpu"], 1, ("GPU", 1, True)),
        (["devices=2"], 2, ("GPU", 2, False)),
        (["devices=cpu"], 2, ("CPU", 1, False)),
    ],
)
def test_what_is_chosen(
    overrides: list[str], gpus: int, expected: tuple[str, int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(gpus, monkeypatch)
    config = compose(overrides)
    devices.check(config)
    assert (devices.kind(config), devices.count(config), devices.is_compiled(config)) == expected


def pretend(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TensorFlow list GPUs that are not there."""
    listed = tf.config.list_physical_devices
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: ["GPU"] * gpus if kind == "GPU" else listed(kind)
    )


def test_one_device_is_a_plain_gan(small_config: Make, digits: Dataset) -> None:
    with devices.team(small_config(), digits) as team:
        assert type(team.gan) is GAN
        assert team.start(7) == 7
        assert [team.agreed(count) for count in (3, 0)] == [3, 0]


def test_slurms_tasks_are_tensorflows_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_JOB_ID": "3", "SLURM_STEP_ID": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    resolver = devices._slurm()
    hosts = [f"node{node}:{22_200 + task}" for node in (1, 2) for task in (0, 1)]
    assert resolver.cluster_spec().as_dict() == {"worker": hosts}
    assert resolver.get_task_info() == ("worker", 2)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.slow
def test_the_compiled_step_is_the_step(small_config: Make, small_images: np.ndarray) -> None:
    """On the processor, where no run uses it. Only XLA's random numbers differ; here both are given the same."""
    plain, compiled = (GAN(small_config(), small_images, is_compiled) for is_compiled in (False, True))
    for gan in (plain, compiled):
        gan.latents = lambda now, _=0: tf.sin(tf.reshape(tf.range(80.0), [8, 10]) * tf.cast(now, tf.float32))
    expected, ours = plain.train(0, 3)[0], compiled.train(0, 3)[0]
    for key in MEASURES:
        assert ours[key] == pytest.approx(expected[key], rel=1e-4)


# Workers -----------------------------------------------------------------------------------------


def start(folder: Path, *commands: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Processes of this Python, the workers of one cluster on loopback."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("localhost", 0))
        addresses = [f"localhost:{each.getsockname()[1]}" for each in (first, second)]
    processes = []
    for index, command in enumerate(commands):
        names = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        processes.append(
            subprocess.Popen(
                [sys.executable, *command], cwd=folder, env={**os.environ, "TF_CONFIG": json.dumps(names)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    return processes


def finish(processes: list[subprocess.Popen[str]]) -> tuple[list[int], str]:
    """Exit codes, and what all have said."""
    try:
        said = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], "\n".join(said)


def last_state(run: Path) -> dict[str, np.ndarray]:
    """The arrays of the newest checkpoint."""
    return checkpoints.load(runs.checkpoint_paths(run)[0]).arrays


@pytest.mark.slow
def test_two_workers_train_as_one_process_does_and_resume_together(tmp_path: Path) -> None:
    run_py = [str(ROOT / "run.py"), *SMALL, "sample_interval=20"]
    # Whole, in two parts, and by one process.
    codes, said = finish(start(tmp_path, *[[*run_py, "iterations=40", "hydra.run.dir=whole"]] * 2))
    assert codes == [0, 0], said
    codes, said = finish(start(tmp_path, *[[*run_py, "iterations=25", "hydra.run.dir=parts"]] * 2))
    assert codes == [0, 0], said
    codes, said = finish(start(tmp_path, *[["-m", "dcgan_exp", "resume", "parts", "iterations=40"]] * 2))
    assert codes == [0, 0], said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]
    assert runs.read(tmp_path / "parts").record["devices"] == "2 workers with 1 CPU"
    assert checkpoints.differences(last_state(tmp_path / "whole"), last_state(tmp_path / "parts")) == []
    done = subprocess.run(
        [sys.executable, *run_py, "iterations=20", "hydra.run.dir=one"], cwd=tmp_path, timeout=600, check=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0
    one, two = (runs.read(tmp_path / name).metrics() for name in ("one", "whole"))
    for key in MEASURES:
        assert two[key][0] == pytest.approx(one[key][0], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "codes", "status", "told"),
    [
        (signal.SIGTERM, [130, 130], "interrupted", "another worker was asked to stop"),
        (signal.SIGKILL, [1, -9], "failed", "another worker is lost: "),
    ],
)
def test_the_chief_ends_with_the_other_worker(
    tmp_path: Path, number: int, codes: list[int], status: str, told: str
) -> None:
    run_py = [str(ROOT / "run.py"), *SMALL, "sample_interval=20", "iterations=1000000"]
    processes = start(tmp_path, *[[*run_py, "hydra.run.dir=run"]] * 2)
    metrics, deadline = tmp_path / "run" / runs.METRICS, time.monotonic() + 600
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text().count("\n") > 2):
        time.sleep(0.2)
    processes[1].send_signal(number)
    assert finish(processes)[0] == codes
    record = runs.read(tmp_path / "run").record
    assert record["status"] == status
    assert str(record["reason"]).startswith(told)


@pytest.mark.slow
def test_workers_that_differ_are_told_and_train_nothing(tmp_path: Path) -> None:
    run_py = [str(ROOT / "run.py"), *SMALL, "hydra.run.dir=run"]
    codes, _ = finish(start(tmp_path, run_py, [*run_py, "seed=1"]))
    assert codes == [1, 1]
    reason = runs.read(tmp_path / "run").record["reason"]
    assert reason == "worker 1 has another configuration or other data than worker 0"
