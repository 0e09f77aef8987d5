"""Run folders looked at and cleaned by a command."""

from pathlib import Path

import pytest
from calling import call
from run_folders import make_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
