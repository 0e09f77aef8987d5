"""The run folder as it is written and read."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcgan_exp import runs
from dcgan_exp.config import Config
from dcgan_exp.runs import Recorder, RunError


def test_a_recorded_run_is_read_back(tmp_path: Path) -> None:
    recorder = Recorder.create(tmp_path / "run", Config(name="a label"))
    recorder.append({"iteration": 10, "d_loss": 0.5, "g_loss": 1.25})
    assert runs.read(tmp_path / "run").status == "running"
    recorder.close("finished", final={"d_loss": 0.5})
    run = runs.read(tmp_path / "run")
    assert (run.status, run.record["name"], run.record["final"]) == ("finished", "a label", {"d_loss": 0.5})
    assert run.metrics()["g_loss"] == [1.25]
    assert run.metrics()["seconds"] == [None]
    assert run.config()["batch_size"] == 128


def test_a_claimed_folder_holds_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "write_whole", lambda path, _: path.write_text(f"{(tmp_path / runs.RECORD).exists()}"))
    monkeypatch.setattr(Recorder, "start", lambda _: None)
    Recorder.create(tmp_path, Config())
    assert (tmp_path / runs.CONFIG).read_text() == "False"  # a kill between the two leaves no run without one


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    Recorder.create(tmp_path, Config()).close("finished")
    before = (tmp_path / runs.RECORD).read_bytes()
    with pytest.raises(RunError, match="holds a run already"):
        Recorder.create(tmp_path, Config())
    assert (tmp_path / runs.RECORD).read_bytes() == before


def test_a_run_whose_process_is_gone_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from dcgan_exp import runs, config;"
        "runs.Recorder.create(pathlib.Path(sys.argv[1]), config.Config()); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert json.loads((tmp_path / runs.RECORD).read_text())["status"] == "running"
    assert runs.read(tmp_path).status == "killed"


@pytest.mark.parametrize(("age", "status"), [(5, "running"), (90, "killed")])
def test_on_another_host_the_heartbeat_tells(tmp_path: Path, age: float, status: str) -> None:
    record = {"status": "running", "host": "elsewhere", "pid": os.getpid(), "heartbeat": time.time() - age}
    (tmp_path / runs.RECORD).write_text(json.dumps(record))
    assert runs.read(tmp_path).status == status


def test_the_heartbeat_goes_on_while_the_run_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "HEARTBEAT_SECONDS", 0.05)
    recorder = Recorder.create(tmp_path, Config())
    first = runs.read(tmp_path).record["heartbeat"]
    recorder.note(iteration=7)
    time.sleep(0.5)
    record = runs.read(tmp_path).record
    assert record["heartbeat"] > first
    assert record["iteration"] == 7
    recorder.close("finished")


def test_a_half_written_row_is_left_out(tmp_path: Path) -> None:
    recorder = Recorder.create(tmp_path, Config())
    recorder.append({"iteration": 1, "d_loss": 0.5})
    recorder.close("killed")
    with open(tmp_path / runs.METRICS, "a") as file:
        file.write("2,256,0.4")
    assert runs.read(tmp_path).metrics()["iteration"] == [1]


def test_rows_stand_under_the_header_that_is_there(tmp_path: Path) -> None:
    Recorder.create(tmp_path, Config()).close("interrupted")
    recorder = Recorder(tmp_path, {}, b"iteration,d_loss,seconds\n1,0.5,2.0\n")  # an earlier version's
    (tmp_path / runs.METRICS).write_bytes(recorder.metrics)
    recorder.append({"iteration": 2, "d_loss": 0.25, "coverage": 0.9, "seconds": 3})
    assert runs.read(tmp_path).metrics() == {"iteration": [1, 2], "d_loss": [0.5, 0.25], "seconds": [2, 3]}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_record_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / runs.RECORD).write_bytes(content)
    with pytest.raises(RunError) as error:
        runs.read(tmp_path)
    assert "\n" not in str(error.value)


def write_half(path: Path) -> None:
    with runs.whole_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    runs.write_whole(path, b"old")
    with pytest.raises(TypeError):
        runs.write_whole(path, "not bytes")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
