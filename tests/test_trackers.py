"""What trackers are told, read back with their own readers; and that none of them can hurt a run."""

import glob
import importlib.util
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_exp import console, images, runs, trackers
from dcgan_exp.config import NAMES, Config, ConfigError, compose
from dcgan_exp.data import Dataset

MEASURES = {"d_loss": 0.5, "g_loss": 1.5, "d_accuracy": 80.0}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "000010.png"
    path.write_bytes(images.grid_png(np.zeros((16, 28, 28, 1), np.uint8)))
    return path


def tell(config: Config, folder: Path, grid: Path, status: runs.Status = "finished") -> None:
    """A short run's worth of reports."""
    tracker = trackers.Tracker(config, folder)
    for iteration in (10, 20):
        tracker.report(iteration, MEASURES, grid)
    tracker.finish(status)


class Failing:
    """A tracker that is down."""

    def __init__(self, config: Config, folder: Path) -> None:
        raise ConnectionError("no route to host\nand more")


class Hanging:
    """A tracker that never answers: a test that waits for it never ends."""

    def __init__(self, config: Config, folder: Path) -> None:
        threading.Event().wait()


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(console, "warn", lines.append)
    return lines


def test_names_agree() -> None:
    assert {"none", *trackers.BACKENDS} == set(NAMES["tracker"])
    assert trackers.PACKAGES.keys() == trackers.BACKENDS.keys()


def test_none_starts_nothing(tmp_path: Path, grid: Path) -> None:
    before = threading.active_count()
    tell(compose(), tmp_path, grid)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == [grid]


def test_a_tracker_that_is_down_costs_a_warning(
    tmp_path: Path, grid: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.BACKENDS, "mlflow", Failing)
    tell(compose(["tracker=mlflow"]), tmp_path, grid)
    assert warned == ["tracker=mlflow is told nothing more: ConnectionError: no route to host; the run goes on"]


def test_a_tracker_that_hangs_is_left(
    tmp_path: Path, grid: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.BACKENDS, "mlflow", Hanging)
    monkeypatch.setattr(trackers, "FINISH_SECONDS", 0.1)
    tell(compose(["tracker=mlflow"]), tmp_path, grid)
    assert "did not answer" in warned[0]


def test_reporting_never_waits(tmp_path: Path, grid: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.BACKENDS, "mlflow", Hanging)
    tracker = trackers.Tracker(compose(["tracker=mlflow"]), tmp_path)
    for iteration in range(2 * trackers.MOST_WAITING):
        tracker.report(iteration, MEASURES, grid)
    assert warned == ["tracker=mlflow is told nothing more: it does not answer; the run goes on"]


def test_a_missing_package_is_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tracker.name=wandb: .* pip install 'dcgan-exp\[wandb\]'"):
        trackers.check_installed(compose(["tracker=wandb"]).tracker)


def test_a_real_run_goes_on_without_its_tracker(
    tmp_path: Path, small_config: Callable[..., Config], digits: Dataset, warned: list[str], monkeypatch: Any
) -> None:
    from dcgan_exp.training import train

    monkeypatch.setitem(trackers.BACKENDS, "mlflow", Failing)
    assert train(small_config("tracker=mlflow"), digits, tmp_path / "run").status == "finished"
    assert len(warned) == 1


def test_tensorboard(tmp_path: Path, small_config: Callable[..., Config], digits: Dataset) -> None:
    pytest.importorskip("tensorboard", reason="needs dcgan-exp[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    from dcgan_exp.training import train

    train(small_config("tracker=tensorboard"), digits, tmp_path / "run")
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    metrics = runs.read(tmp_path / "run").metrics()
    for name in ("d_loss", "g_loss", "d_accuracy"):
        told = [(event.step, event.value) for event in read.Scalars(name)]
        assert [step for step, _ in told] == metrics["iteration"] == [2, 4, 6]
        np.testing.assert_allclose([value for _, value in told], metrics[name], atol=1e-5)
    grids = read.Images("samples")
    assert [event.step for event in grids] == [2, 4, 6]
    assert grids[-1].encoded_image_string == runs.sample_path(tmp_path / "run", 6).read_bytes()
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["optimizer.learning_rate"].number_value == 1e-3
    assert start.hparams["model.name"].string_value == "book"
    content = read.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status == 1  # STATUS_SUCCESS


def test_tensorboard_of_a_run_that_went_on(tmp_path: Path, grid: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs dcgan-exp[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    config = compose(["tracker=tensorboard"])
    tell(config, tmp_path / "run", grid, "interrupted")
    tell(config, tmp_path / "run", grid, "finished")
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    assert [event.step for event in read.Scalars("g_loss")] == [10, 20]
    content = read.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status == 1  # STATUS_SUCCESS


def test_mlflow(tmp_path: Path, grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs dcgan-exp[mlflow]")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "store").as_uri()
    config = compose(["tracker=mlflow", f"tracker.uri={uri}", "name=a name"])
    tell(config, tmp_path / "run", grid, "interrupted")
    tell(config, tmp_path / "run", grid, "finished")  # it went on
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("dcgan-exp")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags["status"]) == ("a name", "FINISHED", "finished")
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.metrics["g_loss"] == 1.5
    assert {metric.step for metric in client.get_metric_history(run.info.run_id, "g_loss")} == {10, 20}
    assert [file.path for file in client.list_artifacts(run.info.run_id, "samples")] == ["samples/000010.png"]


def test_wandb_offline(tmp_path: Path, grid: Path) -> None:
    pytest.importorskip("wandb", reason="needs dcgan-exp[wandb]")
    (tmp_path / "run").mkdir()
    tell(compose(["tracker=wandb", "name=a name"]), tmp_path / "run", grid, "failed")
    (path,) = glob.glob(str(tmp_path / "run" / "wandb" / "offline-run-*" / "*.wandb"))
    told = wandb_records(Path(path))
    (run,) = [record.run for record in told if record.WhichOneof("record_type") == "run"]
    assert run.display_name == "a name"
    assert '"learning_rate":0.001' in str({item.key: item.value_json for item in run.config.update})
    history = [{item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
               for record in told if record.WhichOneof("record_type") == "history"]  # fmt: skip
    assert [row["_step"] for row in history] == ["10", "20"]
    assert history[0]["g_loss"] == "1.5"
    assert history[0]["samples._type"] == '"image-file"'
    (end,) = [record.exit for record in told if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 1


def wandb_records(path: Path) -> list[Any]:
    """W&B's log: after 7 bytes, LevelDB's format (checksum, length, type in blocks of 32 KiB) of its own messages."""
    from wandb.proto import wandb_internal_pb2

    content, position, parts, found = path.read_bytes(), 7, b"", []
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found
