"""The README is true: its commands run, its tables name what conf/ holds, its links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan_exp import cli
from dcgan_exp.config import CONF_FOLDER, choices

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
RUNS = [command for command in COMMANDS if command.startswith("python run.py")]
TINY = [
    "data=mnist_5k", "batch_size=4", "iterations=2", "sample_interval=1", "latent_dim=4", "data.path=null",
    "model.generator.widths=[4,4,4]", "model.generator.strides=[2,1,2]",
    "model.discriminator.widths=[4,4,4]", "model.discriminator.strides=[2,2,2]",
]  # fmt: skip


def cut_down(command: str) -> list[str]:
    """The command with tiny networks and two iterations, in a folder of its own."""
    words = shlex.split(command)[2:]
    is_query = any(word.startswith("--") for word in words)
    tiny = [override for override in TINY if f"{override.partition('=')[0]}:[" not in command]  # paired values stay
    return [sys.executable, str(ROOT / "run.py"), *words, *([] if is_query else tiny)]


def test_the_readme_shows_runs() -> None:
    assert len(RUNS) > 5


@pytest.mark.parametrize("command", sorted({c for c in RUNS if not re.search(r"optuna|ray|slurm", c)}))
def test_a_shown_run_works(command: str, tmp_path: Path) -> None:
    done = subprocess.run(cut_down(command), cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


VERBS = [command for command in COMMANDS if command.startswith("dcgan-exp") and "sweeps/" not in command]


@pytest.mark.parametrize("command", VERBS)
def test_a_shown_verb_works(command: str, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "onnx" in command:
        pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
    shutil.copytree(finished_run, tmp_path / "outputs" / "2026-01-31" / "12-00-00-a1b2c3")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(shlex.split(command.replace("iterations=40000", "iterations=8"), comments=True)[1:])
    assert end.value.code == 0


@pytest.mark.parametrize("group", [path.name for path in CONF_FOLDER.iterdir() if path.is_dir()])
def test_every_choice_stands_in_the_table_of_groups(group: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{group}`"))
    assert set(re.findall(r"`([^`]+)`", row)[1:]) >= set(choices(group))


def test_links_and_pictures_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_both_setup_commands_are_marked_for_ci() -> None:
    for mark in ("<!-- command: run -->", "<!-- command: test -->"):
        assert README.count(mark) == 1
