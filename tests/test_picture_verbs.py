"""Pictures of a run, made by a command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from calling import call
from PIL import Image

from dcgan_exp import images, runs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sample_in_three_shapes(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("grid.png", "samples.npy", "singles/"):
        code, out, err = call(capsys, "sample", finished_run, "--count", 5, "--seed", 3, "--output", output)
        assert (code, err) == (0, "")
        assert out.replace("\n", "").startswith(f"wrote {output.rstrip('/')}: 5 images of 28 x 28 pixels, seed 3")
    array = np.load("samples.npy")
    np.testing.assert_array_equal(array, images.read_grid(Path("grid.png")))
    singles = sorted(Path("singles").iterdir())
    assert [path.name for path in singles] == [f"{number:04}.png" for number in range(5)]
    np.testing.assert_array_equal(array[..., 0], [np.asarray(Image.open(path)) for path in singles])


def test_a_folder_of_samples_holds_those_of_one_command(
    finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "digits"
    folder.mkdir()
    assert call(capsys, "sample", finished_run, "--count", 7, "-o", "digits")[0] == 0  # into an empty one, unasked
    for name in ("notes.txt", "20240101.png"):
        (folder / name).write_text("mine")
    assert call(capsys, "sample", finished_run, "--count", 2, "-o", "digits")[0] == 2
    assert call(capsys, "sample", finished_run, "--count", 2, "--seed", 2, "-o", "digits", "--force")[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["0000.png", "0001.png", "20240101.png", "notes.txt"]
    assert [path.name for path in here.iterdir()] == ["digits"]


def test_a_walk_starts_and_ends_at_its_seeds(
    finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "interpolate", finished_run, "--steps", 4, "-o", "walk.png")[0] == 0
    assert call(capsys, "interpolate", finished_run, "--steps", 4, "-o", "walk.gif")[0] == 0
    with Image.open("walk.gif") as walk:
        assert walk.n_frames == 6


def test_a_walk_that_no_picture_holds_is_refused(
    finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 30 * 30 * 10)
    code, _, err = call(capsys, "interpolate", finished_run, "--steps", 6, "--count", 2)
    assert (code, err) == (2, "--steps 6: with --count 2 a walk has 5 at most\n")


def test_animate_and_nearest(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "4 grids, iteration 0 to 6" in call(capsys, "animate", finished_run)[1]
    assert "between training images" in call(capsys, "nearest", finished_run, "--count", 3)[1]
    assert Path("training.gif").exists()
    assert Path("nearest.png").exists()


def test_other_training_images_are_refused(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(finished_run, here / "copy")
    record = json.loads((copy / runs.RECORD).read_text())
    record["data"]["fingerprint"] = "0" * 64
    (copy / runs.RECORD).write_text(json.dumps(record))
    assert "the fingerprints differ" in call(capsys, "nearest", copy)[2]
