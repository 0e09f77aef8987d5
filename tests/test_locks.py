"""One process at a time in a run folder, and no waiting for a dead one."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan_exp import locks, runs

HOLD = """
import pathlib, sys, time
from dcgan_exp import locks
with locks.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_refused_with_the_first_one_s_pid_and_host(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(runs.RunError, match=f"in use by process {process.pid} on {socket.gethostname()}"):
            locks.held(tmp_path).__enter__()
        process.kill()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / runs.LOCK).read_text())["pid"] == process.pid
    with locks.held(tmp_path):
        assert json.loads((tmp_path / runs.LOCK).read_text())["pid"] == os.getpid()


def test_nothing_is_left_and_it_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with locks.held(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_whatever_an_old_file_says(tmp_path: Path, content: str) -> None:
    (tmp_path / runs.LOCK).write_text(content)
    with locks.held(tmp_path):
        pass


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / runs.LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        locks.held(tmp_path / "run").__enter__()
    assert not (tmp_path / "precious").exists()


def test_where_the_file_system_cannot_lock_the_file_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    with holder(tmp_path) as process:
        monkeypatch.setattr(locks.fcntl, "flock", unsupported)
        with pytest.raises(runs.RunError, match=f"process {process.pid}"):
            locks.held(tmp_path).__enter__()
        process.kill()
        process.wait()
        with locks.held(tmp_path):
            pass
