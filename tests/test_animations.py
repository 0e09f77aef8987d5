"""Walks there and back, and films."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_exp import animations


def steps(count: int, walks: int = 1, channels: int = 1) -> np.ndarray:
    levels = np.linspace(0, 255, count).astype(np.uint8)[:, None, None, None, None]
    return np.broadcast_to(levels, (count, walks, 28, 28, channels)).copy()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_walk_goes_there_and_back(channels: int) -> None:
    with Image.open(io.BytesIO(animations.walk_gif(steps(5, channels=channels)))) as walk:
        assert walk.n_frames == 8
        levels = []
        for frame in range(8):
            walk.seek(frame)
            levels.append(np.asarray(walk.convert("L"))[0, 0])
        assert levels[:5] == sorted(levels[:5])
        assert levels[5:] == levels[3:0:-1]


def test_a_walk_of_two_steps_is_no_trouble() -> None:
    with Image.open(io.BytesIO(animations.walk_gif(steps(2)))) as walk:
        assert walk.n_frames == 2


def test_a_picture_has_a_line_for_each_walk() -> None:
    with Image.open(io.BytesIO(animations.walk_png(steps(10, walks=3)))) as picture:
        assert picture.width // 10 == pytest.approx(picture.height // 3, abs=2)


def test_a_long_walk_takes_several_lines() -> None:
    with Image.open(io.BytesIO(animations.walk_png(steps(36)))) as picture:
        assert picture.width // 12 == pytest.approx(picture.height // 3, abs=2)


def test_a_film_needs_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(animations.FilmError, match="apt install ffmpeg"):
        animations.write_film([Image.new("L", (9, 9))], tmp_path / "film.mp4")


def test_a_failure_of_ffmpeg_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/ffmpeg")
    failed = subprocess.CompletedProcess([], 1, b"", b"first\nno room\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(animations.FilmError, match="ffmpeg failed: no room"):
        animations.write_film([Image.new("L", (9, 9))], tmp_path / "film.mp4")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
def test_a_film_is_written(tmp_path: Path) -> None:
    animations.write_film([Image.new("L", (255, 33), level) for level in (0, 90, 200)], tmp_path / "film.mp4")
    assert b"ftyp" in (tmp_path / "film.mp4").read_bytes()[:16]
