"""Who trains together, from what the environment says; TensorFlow's own resolver as the oracle."""

import json

import pytest
import tensorflow as tf

from dcgan_exp import workers
from dcgan_exp.config import ConfigError
from dcgan_exp.workers import Workers


def tf_config(cluster: object, kind: str = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize("text", [None, "", " ", "{}", json.dumps({"cluster": {}})])
def test_without_a_cluster_a_process_is_alone(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert workers.of("tf_config") == Workers(1, 0)
    assert workers.of("tf_config").is_chief


@pytest.mark.parametrize(
    ("cluster", "kind", "index"),
    [
        ({"worker": ["a:1", "b:1", "c:1"]}, "worker", 0),
        ({"worker": ["a:1", "b:1", "c:1"]}, "worker", 2),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0),
    ],
)
def test_numbers_and_chief_are_tensorflows(
    cluster: dict[str, list[str]], kind: str, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config(cluster, kind, index))
    ours = workers.of("tf_config")
    theirs = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    spec = theirs.cluster_spec()
    assert ours.count == sum(spec.num_tasks(job) for job in spec.jobs)
    from tensorflow.python.distribute import multi_worker_util

    assert ours.is_chief == multi_worker_util.is_chief(spec, theirs.task_type, theirs.task_id)
    assert ours.index == multi_worker_util.id_in_cluster(spec, theirs.task_type, theirs.task_id)


@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        "[1]",
        tf_config({"worker": ["a:1"]}, "worker", 1),
        tf_config({"worker": ["a:1"]}, "worker", "x"),
        tf_config({"ps": ["a:1"], "worker": ["b:1"]}),
        tf_config(["a:1"]),
        json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}}),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=r"^TF_CONFIG=.*JSON is needed, such as") as error:
        workers.of("tf_config")
    assert "\n" not in str(error.value)


def test_slurm_names_the_tasks_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in workers.SLURM_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="SLURM_PROCID is not set: start it in a job step, with srun"):
        workers.of("slurm")
    for name, value in zip(workers.SLURM_VARIABLES, ("3", "4", "node[1-2]", "2(x2)"), strict=True):
        monkeypatch.setenv(name, value)
    assert workers.of("slurm") == Workers(4, 3)
    monkeypatch.setenv("SLURM_PROCID", "x")
    with pytest.raises(ConfigError, match="must be numbers"):
        workers.of("slurm")
