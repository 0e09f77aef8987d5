"""The whole loop on real digits, for a few iterations: what it leaves in the run folder, and how it ends."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dcgan_exp import images, runs
from dcgan_exp.config import Config
from dcgan_exp.data import Dataset
from dcgan_exp.gan import GAN
from dcgan_exp.training import Outcome, train

Make = Callable[..., Config]


def test_a_run_folder_holds_what_the_readme_says(finished_run: Path) -> None:
    expected = ["curves.png", "discriminator.keras", "generator.keras", "metrics.csv", "run.json", "run.log"]
    names = [entry.name for entry in finished_run.iterdir()]
    assert set(expected) <= set(names)
    assert not [name for name in names if "tmp" in name]
    assert (finished_run / ".hydra" / "config.yaml").exists()


def test_rows_and_grids_stand_at_multiples_of_the_interval(finished_run: Path) -> None:
    run = runs.read(finished_run)
    assert run.metrics()["iteration"] == [2, 4, 6]
    assert run.metrics()["images_seen"] == [16, 32, 48]
    assert list(run.samples()) == [0, 2, 4, 6]


def test_no_row_and_no_grid_for_an_end_between_two_intervals(
    small_config: Make, digits: Dataset, tmp_path: Path
) -> None:
    assert train(small_config("iterations=5", "sample_interval=3"), digits, tmp_path / "run").status == "finished"
    run = runs.read(tmp_path / "run")
    assert run.metrics()["iteration"] == [3]
    assert list(run.samples()) == [0, 3]
    assert run.record["iteration"] == 5


def test_the_rows_are_what_the_step_measured(finished_run: Path, small_config: Make, digits: Dataset) -> None:
    gan, metrics = GAN(small_config(), digits.images), runs.read(finished_run).metrics()
    for position, iteration in enumerate((2, 4, 6)):
        measures, _ = gan.train(iteration - 2, 2)
        for key, value in measures.items():
            assert metrics[key][position] == pytest.approx(value, abs=1e-5)


def test_channels_that_were_left_to_the_images_are_written_down(
    small_config: Make, digits: Dataset, tmp_path: Path
) -> None:
    dataset = replace(digits, skipped=["bad.png: it is no PNG"])
    assert train(small_config("data.channels=null"), dataset, tmp_path / "run").status == "finished"
    assert runs.read(tmp_path / "run").config()["data"]["channels"] == 1
    assert "left out: bad.png: it is no PNG" in (tmp_path / "run" / runs.LOG).read_text()


def test_the_record_tells_where_the_numbers_come_from(finished_run: Path, digits: Dataset) -> None:
    record = runs.read(finished_run).record
    assert record["status"] == "finished"
    assert record["iteration"] == 6
    assert record["data"]["fingerprint"] == digits.fingerprint
    assert record["data"]["size"] == 4000
    assert record["versions"]["keras"] == keras.__version__
    assert set(record["final"]) >= {"d_loss", "g_loss", "d_accuracy"}
    assert record["threads"] == 1


def test_saved_networks_open_with_plain_keras_and_draw_the_last_grid(finished_run: Path, small_config: Make) -> None:
    generator = keras.saving.load_model(runs.network_path(finished_run, "generator"))
    discriminator = keras.saving.load_model(runs.network_path(finished_run, "discriminator"))
    layers = generator.layers + discriminator.layers
    assert {type(layer).__module__.split(".")[0] for layer in layers} == {"keras"}
    latents = tf.random.stateless_normal([16, 10], [small_config().sample_seed, 2], alg="philox")
    drawn = images.to_uint8(generator(latents).numpy())
    stored = images.read_grid(runs.sample_path(finished_run, 6))
    assert np.abs(drawn.astype(int) - stored.astype(int)).max() <= 1
    assert discriminator(generator(latents)).shape == (16, 1)


def test_pictures_open(finished_run: Path) -> None:
    with Image.open(finished_run / runs.CURVES) as curves, Image.open(finished_run / runs.ANIMATION) as animation:
        assert curves.size[0] > 600
        assert animation.n_frames == 4


def test_the_same_configuration_gives_the_same_folder(
    finished_run: Path, small_config: Make, digits: Dataset, tmp_path: Path
) -> None:
    train(small_config(), digits, tmp_path / "again")
    for name in ("samples/000000.png", "samples/000006.png", "samples.gif"):
        assert (finished_run / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    first, again = (runs.read(folder).metrics() for folder in (finished_run, tmp_path / "again"))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}


def test_a_loss_that_is_not_finite_ends_the_run(small_config: Make, digits: Dataset, tmp_path: Path) -> None:
    config = small_config("optimizer=sgd", "optimizer.learning_rate=1e20")
    outcome = train(config, digits, tmp_path / "run")
    record = runs.read(tmp_path / "run").record
    assert (outcome.status, record["status"]) == ("failed", "failed")
    assert f"not finite at iteration {record['iteration']}" in record["reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_chunk(
    small_config: Make, digits: Dataset, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "run"

    def interrupt() -> None:
        metrics, deadline = folder / runs.METRICS, time.monotonic() + 600
        while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text().count("\n") > 2):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    outcome = train(small_config("iterations=1000000", "sample_interval=5"), digits, folder)
    assert outcome.status == "interrupted"
    record = json.loads((folder / runs.RECORD).read_text())
    assert record["status"] == "interrupted"
    assert record["iteration"] >= 10
    assert runs.checkpoint_paths(folder)[0] == runs.checkpoint_path(folder, record["iteration"])
    assert (folder / "generator.keras").exists()


def test_an_error_is_recorded_with_its_traceback(
    small_config: Make, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Outcome:
        raise ValueError("broken on purpose\nsecond line")

    monkeypatch.setattr(GAN, "train", broken)
    with pytest.raises(ValueError, match="broken"):
        train(small_config(), digits, tmp_path / "run")
    record = runs.read(tmp_path / "run").record
    assert (record["status"], record["reason"]) == ("failed", "ValueError: broken on purpose")
    assert "Traceback" in (tmp_path / "run" / runs.LOG).read_text()


def test_a_clock_that_is_set_back_changes_dates_only(
    finished_run: Path, small_config: Make, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(2_000_000_000, -3_600)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(clock)))
        assert train(small_config(), digits, tmp_path / "run").status == "finished"
    run, whole = runs.read(tmp_path / "run"), runs.read(finished_run)
    assert run.record["heartbeat"] < 2_000_000_000
    assert 0 < run.record["seconds"] < 600
    assert {**run.metrics(), "seconds": []} == {**whole.metrics(), "seconds": []}
    assert all(
        path.read_bytes() == whole.samples()[iteration].read_bytes() for iteration, path in run.samples().items()
    )
