"""Export as a command, completion, and help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from calling import call

from dcgan_exp import cli, verbs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_export_with_a_card(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "64 samples within" in call(capsys, "export", finished_run, "--output", "handed-on")[1]
    assert "# `DCGAN generator`" in Path("handed-on/README.md").read_text()


@pytest.mark.parametrize(
    ("line", "offered"), [("dcgan-exp in", {"info", "interpolate"}), ("dcgan-exp export --format o", {"onnx "})]
)
def test_the_shell_can_complete(tmp_path: Path, line: str, offered: set[str]) -> None:
    pytest.importorskip("argcomplete", reason="needs dcgan-exp[completion]")
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": line}
    environment = {**os.environ, **asked, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": ","}
    subprocess.run([sys.executable, "-m", "dcgan_exp"], env=environment, check=False, capture_output=True, timeout=600)
    assert set(answer.read_text().split(",")) == offered


@pytest.mark.parametrize("verb", verbs.ENTRIES)
def test_help_has_examples_that_can_be_parsed(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    code, out, _ = call(capsys, verb, "--help")
    assert code == 0
    assert f"dcgan-exp {verb}" in out.partition("examples:")[2]
    for example in verbs.ENTRIES[verb][3]:
        cli.build_parser().parse_args([verb, *example.split()])
