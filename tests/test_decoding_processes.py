"""The processes that decode: they answer in order, die alone, and end with whoever asked."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_exp import decoding_processes
from dcgan_exp.decoding import Settings
from dcgan_exp.decoding_processes import Decoders

NAMES = ["0.png", "1.png", "2.png"]
SETTINGS = Settings(8, None, "center")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, each of one grey that is its number."""
    for number, name in enumerate(NAMES):
        Image.new("L", (8, 8), number).save(tmp_path / name)
    return tmp_path


def test_blocks_come_in_the_order_of_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_processes, "BLOCK", 4)
    with Decoders() as decoders:
        blocks = list(decoders.decode(folder, NAMES * 7, SETTINGS))
    assert [len(block.taken) for block in blocks] == [4, 4, 4, 4, 4, 1]
    assert np.concatenate([block.images for block in blocks])[:, 0, 0, 0].tolist() == [0, 1, 2] * 7


def test_a_file_that_crashes_its_decoder_costs_that_file_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, sys; from dcgan_exp import decoding; real = decoding.decode\n"
        "decoding.decode = lambda path, s: os.kill(os.getpid(), 11) if path.endswith('0.png') else real(path, s)\n"
        "decoding.serve([int(descriptor) for descriptor in sys.argv[1:]])"
    )
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **options: real([sys.executable, "-c", program, *command[4:]], **options)
    )
    with Decoders() as decoders:
        blocks = list(decoders.decode(folder, NAMES, SETTINGS))
    assert [block.refused for block in blocks] == [{0: "it crashes the decoder"}, {}, {}]
    found = np.concatenate([block.images for block in blocks])
    np.testing.assert_array_equal(found, [np.full((8, 8, 1), number, np.uint8) for number in (1, 2)])


def test_decoders_that_can_not_start_are_no_fault_of_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: real([sys.executable, "-c", "exit(3)"], **options))
    with pytest.raises(RuntimeError, match="exit code 3"), Decoders() as decoders:
        list(decoders.decode(folder, NAMES, SETTINGS))


def test_leaving_early_ends_the_decoders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        processes.append(real(command, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with Decoders() as decoders:
        decoders.start()
        next(decoders.decode(folder, NAMES * 200, SETTINGS))
    assert processes
    assert all(process.returncode is not None for process in processes)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoding")]
