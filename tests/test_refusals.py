"""Every command that can't be carried out: one line, exit code 2, nothing written, and soon.

Soon: before this machine could have loaded TensorFlow, in seconds of the processor, since machines differ in speed and
other work may share them. FAULTS_TIMES=1 prints the seconds of each command.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_config import BAD

from dcgan_exp import runs

ROOT = Path(__file__).resolve().parent.parent
# What is found only once data, folders or a sweep's jobs are looked at.
LATER = {
    "data.path=missing.npz": "there is no such file",
    "data.path=damaged.npz": "data.path=damaged.npz: ",
    "data.path=empty": "no training images",
    "data=fashion_mnist data.path=text": "data.path=text: ",
    "hydra.run.dir=/proc/nowhere": "choose a folder that can be written",
    "hydra.run.dir=text/below": "choose a folder that can be written",
    "hydra.run.dir=run": "dcgan-exp resume run",
    "objective=loss data=mnist_5k": "objective=loss: choose from",
    "loss=relativistic": "add update=shared",
    "regularizer=r1": "add update=shared",
    "update=book update.discriminator_steps=2": "add update=shared",
    "-m seed=1,-1": "seed=-1: allowed",
    "-m seed=": "",
    "-m zip={seed:[1,2],batch_size:[8]}": "seed has 2, batch_size has 1",
    "-m model=glob(zzz*)": "no job",
    "-m seed=1,2 data.path=missing.npz": "there is no such file",
    "-m seed=1,2 hydra.sweep.dir=/proc/nowhere": "choose a folder that can be written",
    "-m seed=1,2 objective=best.loss data=mnist_5k": "objective=best.loss: choose from",
    "--no-such-flag": "--no-such-flag",
}
VERBS = {
    "resume nowhere": "nowhere is not a run folder",
    "resume run seed=3": "seed=3 (was 0) would change the result",
    "resume run iterations=1": "the run has done 6 already",
    "resume run modle=wide": "resume takes key=value",
    "resume run --fork run": "is there already",
    "reproduce empty": "is not a run folder",
    "sample nowhere": "nowhere",
    "sample run --checkpoint 99 --output grid.png": "99",
    "compare nowhere": "nowhere",
    "compare run --where sead==1": "did you mean seed?",
}


def measured(folder: Path, *arguments: str) -> tuple[int, list[str], float, float]:
    """Exit code, lines on both streams, seconds of the processor and of the clock."""
    started = time.monotonic()
    with (folder.parent / "output").open("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=output, stderr=output)
        alarm = threading.Timer(60, process.kill)  # a command that is taken after all must not train for an hour
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    return process.returncode, lines, usage.ru_utime + usage.ru_stime, time.monotonic() - started


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file, and every folder as null."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def is_refused(folder: Path, soon: float, told: str, *arguments: str) -> None:
    """Run a command, and hold it to what is promised."""
    before = contents(folder)
    code, lines, worked, took = measured(folder, *arguments)
    if os.environ.get("FAULTS_TIMES"):
        print(f"{worked:.2f} s of the processor, {took:.2f} s: {lines}", flush=True)
    assert (code, len(lines)) == (2, 1), lines
    assert told in lines[0]
    assert worked < soon
    assert contents(folder) == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A folder with a finished run, an empty folder, and two files that hold no data."""
    folder = tmp_path_factory.mktemp("refusals") / "place"
    folder.mkdir()
    (folder / "empty").mkdir()
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04 not really")
    (folder / "text").write_text("no data")
    shutil.copytree(finished_run, folder / "run")
    assert runs.read(folder / "run").status == "finished"
    return folder


@pytest.fixture(scope="module")
def soon(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of the processor that importing TensorFlow takes."""
    folder = tmp_path_factory.mktemp("tensorflow") / "place"
    folder.mkdir()
    code, _, worked, _ = measured(folder, "-c", "import tensorflow")
    assert code == 0
    return worked


@pytest.mark.faults
@pytest.mark.parametrize("override", BAD)
def test_a_bad_value_is_refused_at_once(place: Path, soon: float, override: str) -> None:
    is_refused(place, soon, BAD[override], str(ROOT / "run.py"), override)


@pytest.mark.faults
@pytest.mark.parametrize("arguments", LATER)
def test_what_only_a_look_around_finds_is_refused_soon(place: Path, soon: float, arguments: str) -> None:
    is_refused(place, soon, LATER[arguments], str(ROOT / "run.py"), *arguments.split(" "))


@pytest.mark.faults
@pytest.mark.parametrize("arguments", VERBS)
def test_a_verb_is_refused_soon(place: Path, soon: float, arguments: str) -> None:
    is_refused(place, soon, VERBS[arguments], "-m", "dcgan_exp", *arguments.split(" "))


def test_there_are_fifty_bad_configurations() -> None:
    assert len(BAD | LATER) >= 50
