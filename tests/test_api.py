"""The notebook's functions, and that importing the package costs nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run_folders import make_run

import dcgan_exp
from dcgan_exp import compare, load_run, train
from dcgan_exp.config import ConfigError
from dcgan_exp.runs import RunError


def test_the_import_is_instant() -> None:
    code = "import sys, dcgan_exp; sys.exit(any(name in sys.modules for name in ('numpy', 'hydra', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = dcgan_exp.nothing


def test_a_run_is_its_config_metrics_images_and_generator(finished_run: Path) -> None:
    run = load_run(finished_run)
    assert (run.status, run.record["iteration"], run.config.batch_size) == ("finished", 6, 8)
    assert run.metrics["iteration"].tolist() == [2, 4, 6]
    assert run.metrics["g_loss"].dtype == np.float64
    assert list(run.images) == [0, 2, 4, 6]
    assert run.images[6].shape == (16, 28, 28, 1)
    assert run.generator(np.zeros((3, 10))).shape == (3, 28, 28, 1)
    assert run.load_generator(6).source == "checkpoint 6"
    assert repr(run) == f"<run {finished_run}: finished at iteration 6>"


def test_train_takes_overrides_and_values(tmp_path: Path) -> None:
    small = ["data=mnist_5k", "model.generator.widths=[16,8,8]", "model.discriminator.widths=[4,8,8]"]
    run = train(*small, batch_size=8, iterations=2, sample_interval=1, name=None, folder=tmp_path / "run")
    assert run.status == "finished"
    assert run.config.batch_size == 8
    with pytest.raises(ConfigError, match="batch_size=0"):
        train(batch_size=0)
    with pytest.raises(ConfigError, match=r"data\.path=none/it's, \(1\)=a: there is no such file"):
        train(**{"data.path": "none/it's, (1)=a"})
    with pytest.raises(ConfigError, match="model=huge: choose from"):
        train(model="huge")
    with pytest.raises(RunError, match="is not a run folder"):
        load_run(tmp_path)


def test_compare_gives_rows(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path / str(seed), seed=seed, grid=None)
    rows = compare(tmp_path, where="seed > 1")
    assert [row["seed"] for row in rows] == [2]
    assert compare(tmp_path, group_by=["seed"])[0]["n"] == 2
    assert [row["seed"] for row in compare(tmp_path, sort="seed")] == [1, 2]
    assert compare(tmp_path, where="generator_collapsed == 5") == []
    with pytest.raises(RunError, match="no such folder"):
        compare(tmp_path / "nowhere")
