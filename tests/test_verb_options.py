"""Every refusal in one line with exit code 2, and nothing overwritten."""

from pathlib import Path

import pytest
from calling import call
from run_folders import make_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quiet_says_nothing(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "sample", finished_run, "--quiet") == (0, "", "")


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
        (["sample", "RUN", "-o", "link/x.png"], "where nothing is changed"),
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
    Path("link").symlink_to(finished_run / "samples")
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
