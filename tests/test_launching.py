"""python run.py as a person meets it: one line and exit code 2 for what can't be used, and nothing written."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from dcgan_exp import runs
from dcgan_exp.launching import whole_command

ROOT = Path(__file__).resolve().parent.parent
TINY = ["data=mnist_5k", "model=narrow", "batch_size=4", "sample_interval=2", "threads=1"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python run.py ...` in a folder."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("batchsize=3", "did you mean batch_size?"),
        ("model=huge", "model=huge: choose from"),
        ("batch_size=0", "batch_size=0: allowed"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate=nan: allowed"),
        ("devices=gpu", "devices=gpu: TensorFlow finds no GPU here"),
        ("data.image_size=30", "data.image_size=30: the strides of model=book reach 28 and 32"),
        ("data.path=missing.npz", "data.path=missing.npz: there is no such file"),
        ("data.path=damaged.npz", "data.path=damaged.npz: "),
        ("hydra.run.dir=/proc/nowhere", "hydra.run.dir=/proc/nowhere: "),
        ("+hydra.callbacks.evil._target_=os.system", "hydra.callbacks.evil=...: callbacks run code"),
        ("hydra.launcher._target_=os.system", "only Hydra's own launchers and sweepers are taken"),
        ("+hydra.job_logging.handlers.evil.class=os.system", "logging settings that name code are not taken"),
        ("--experimental-rerun=config.pickle", "use dcgan-exp reproduce"),
        ("data=", ""),
    ],
)
def test_what_cannot_be_used_gets_one_line_and_leaves_nothing(tmp_path: Path, override: str, told: str) -> None:
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 not really")
    done = run(tmp_path, override)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["damaged.npz"]


def test_an_existing_run_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(tmp_path, *TINY, "iterations=2", f"hydra.run.dir={folder}").returncode == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = run(tmp_path, *TINY, "iterations=4", f"hydra.run.dir={folder}")
    assert done.returncode == 2
    assert "dcgan-exp resume" in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_divergence_exits_with_1_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    done = run(tmp_path, *TINY, "optimizer=sgd", "optimizer.learning_rate=1e20", "hydra.run.dir=run")
    assert done.returncode == 1
    record = json.loads((tmp_path / "run" / runs.RECORD).read_text())
    assert record["status"] == "failed"
    assert "not finite" in record["reason"]
    assert list(runs.read(tmp_path / "run").samples()) == [0]


def test_ctrl_c_exits_with_130_and_tells_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), *TINY, "iterations=100000", "hydra.run.dir=run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / runs.METRICS
    deadline = time.monotonic() + 600
    while not (metrics.exists() and metrics.read_text().count("\n") > 2):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "\x1b" not in output
    assert "interrupted after" in output
    assert runs.read(tmp_path / "run").status == "interrupted"


def test_ctrl_c_while_images_are_decoded_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "images" / "0.png")
    for number in range(1, 20000):
        (tmp_path / "images" / f"{number}.png").hardlink_to(tmp_path / "images" / "0.png")
    command = [sys.executable, str(ROOT / "run.py"), "data=image_folder", "data.path=images", "hydra.run.dir=run"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, env=environment)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("cache/dcgan-exp/images/*.part/*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    try:
        assert process.communicate(timeout=600)[1] == "interrupted\n"
    finally:
        process.kill()
    assert process.returncode == 130
    assert not (tmp_path / "run").exists()
    assert not [path for path in tmp_path.glob("cache/dcgan-exp/images/*") if path.suffix != ".lock"]


def test_a_quick_run_tells_the_command_of_the_whole_one() -> None:
    command = whole_command(["model=wide", "training=quick", "name='a b'"])
    assert command is not None
    assert shlex.split(command) == ["python", "run.py", "model=wide", "name='a b'"]
    assert whole_command(["training=quick", "iterations=5"]) == "python run.py"
    assert whole_command(["iterations=5"]) is None


def test_help_and_cfg_import_no_tensorflow(tmp_path: Path) -> None:
    for flag in (["--help"], ["--cfg", "job"]):
        command = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), *flag]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=True)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert not imported & {"tensorflow", "keras", "matplotlib"}
    assert list(tmp_path.iterdir()) == []
