"""The verbs as a person types them: what is made, and every refusal in one line with exit code 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_folders import make_run

from dcgan_exp import cli, images, runs


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(str(caught.value.code)), out, err


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


def test_a_walk_starts_and_ends_at_its_seeds(
    finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "interpolate", finished_run, "--steps", 4, "-o", "walk.png")[0] == 0
    assert call(capsys, "interpolate", finished_run, "--steps", 4, "-o", "walk.gif")[0] == 0
    with Image.open("walk.gif") as walk:
        assert walk.n_frames == 6


def test_animate_and_nearest(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "4 grids, iteration 0 to 6" in call(capsys, "animate", finished_run)[1]
    assert "between training images" in call(capsys, "nearest", finished_run, "--count", 3)[1]
    assert Path("training.gif").exists()
    assert Path("nearest.png").exists()


def test_export_with_a_card(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "64 samples within" in call(capsys, "export", finished_run, "--output", "handed-on")[1]
    assert "# `DCGAN generator`" in Path("handed-on/README.md").read_text()


def test_quiet_says_nothing(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "sample", finished_run, "--quiet") == (0, "", "")


def test_info_and_list(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "outputs" / "one", name="first \x1b[31m")
    code, out, _ = call(capsys, "info", "outputs/one")
    assert code == 0
    assert "first \\x1b[31m" in out
    assert "latent_dim: 100" in call(capsys, "info", "outputs/one", "--config")[1]
    assert call(capsys, "list")[1].count("\n") == 2
    assert call(capsys, "list", "--status", "failed")[1].count("\n") == 1


def test_clean_lists_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "outputs" / "good")
    folder = make_run(here / "outputs" / "bad", status="failed")
    assert "would delete outputs/bad" in call(capsys, "clean")[1]
    assert folder.exists()
    assert "deleted outputs/bad" in call(capsys, "clean", "--yes")[1]
    assert [path.name for path in (here / "outputs").iterdir()] == ["good"]
    assert "nothing to delete" in call(capsys, "clean", "--yes")[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sample", "."], "is not a run folder"),
        (["sample", "RUN", "--count", "0"], "1 to 1,000,000, is needed"),
        (["sample", "RUN", "--count", "1000000000"], "1 to 1,000,000, is needed"),
        (["sample", "RUN", "--count", "many"], "1 to 1,000,000, is needed"),
        (["sample", "RUN", "--count", "1000000", "-o", "x.png"], "a grid holds 71,111 such images"),
        (["sample", "RUN", "-o", "x.jpg"], "choose a name that ends in .png or .npy"),
        (["sample", "RUN", "-o", "taken.png"], "exists already; --force overwrites it"),
        (["sample", "RUN", "-o", "no/such/x.png"], "there is no folder"),
        (["sample", "RUN", "-o", "RUN/x.png"], "where nothing is changed"),
        (["sample", "RUN", "--checkpoint", "5"], "has no checkpoint 5; there is 6, last"),
        (["sample", "EMPTY"], "holds no generator yet"),
        (["interpolate", "RUN", "--steps", "1"], "2 to 1,000, is needed"),
        (["animate", "EMPTY"], "holds no grids yet"),
        (["info", "."], "is not a run folder"),
        (["list", "nowhere"], "no such folder"),
        (["export", "RUN", "--format", "pickle"], "invalid choice"),
        (["export", "RUN", "-o", "taken.png"], "exists already"),
    ],
)
def test_a_refusal_is_one_line(
    finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    empty = make_run(here / "empty", grid=None, rows=2)
    Path("taken.png").write_bytes(b"mine")
    places = {"RUN": str(finished_run), "EMPTY": str(empty)}
    given = [argument.replace("RUN", places["RUN"]).replace("EMPTY", places["EMPTY"]) for argument in arguments]
    before = sorted(here.rglob("*"))
    code, out, err = call(capsys, *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert Path("taken.png").read_bytes() == b"mine"
    assert sorted(here.rglob("*")) == before


def test_force_overwrites(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("samples.png").write_bytes(b"old")
    assert call(capsys, "sample", finished_run, "--force")[0] == 0
    assert Path("samples.png").read_bytes()[:4] == b"\x89PNG"


def test_other_training_images_are_refused(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(finished_run, here / "copy")
    record = json.loads((copy / runs.RECORD).read_text())
    record["data"]["fingerprint"] = "0" * 64
    (copy / runs.RECORD).write_text(json.dumps(record))
    assert "the fingerprints differ" in call(capsys, "nearest", copy)[2]


@pytest.mark.parametrize(
    ("line", "offered"), [("dcgan-exp in", {"info", "interpolate"}), ("dcgan-exp export --format o", {"onnx "})]
)
def test_the_shell_can_complete(tmp_path: Path, line: str, offered: set[str]) -> None:
    pytest.importorskip("argcomplete", reason="needs dcgan-exp[completion]")
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": line}
    environment = {**os.environ, **asked, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": ","}
    subprocess.run([sys.executable, "-m", "dcgan_exp"], env=environment, check=False, capture_output=True, timeout=60)
    assert set(answer.read_text().split(",")) == offered
