"""The command line: verbs, exit codes, one line for each thing that can't be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_folders import make_run

from dcgan_exp import cli, console, runs


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of each of two learning rates."""
    root = tmp_path_factory.mktemp("outputs")
    for number, rate in enumerate((1e-4, 1e-4, 1e-3, 1e-3)):
        make_run(root / f"{number}-job", rows=3, seed=number % 2, optimizer__learning_rate=rate)
    return root


class Result:
    """What a call printed and its exit code."""

    def __init__(self, code: int, output: str, errors: str) -> None:
        self.code, self.output, self.errors = code, output, errors
        self.lines = output.splitlines()


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: object) -> Result:
        capfd.readouterr()
        monkeypatch.setattr(console.console, "width", 10_000)
        with pytest.raises(SystemExit) as end:
            cli.main([str(argument) for argument in arguments])
        return Result(int(end.value.code or 0), *capfd.readouterr())

    return run


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_the_table_shows_what_differs(call, outputs: Path) -> None:
    found = call("compare", outputs)
    assert found.code == 0
    assert [line.split()[0] for line in found.lines if "-job" in line] == ["0-job", "1-job", "2-job", "3-job"]
    assert "2 groups of runs differ in the seed only" in found.output
    assert "latent_dim" not in found.output
    assert "latent_dim" in call("compare", outputs, "--all-keys").output.replace("_\n", "_")


def test_nothing_in_a_run_folder_changes(call, outputs: Path, tmp_path: Path) -> None:
    before = snapshot(outputs)
    files = (
        "--csv",
        tmp_path / "a.csv",
        "--json",
        tmp_path / "a.json",
        "--plots",
        tmp_path / "p",
        "--html",
        tmp_path / "a.html",
    )
    assert call("compare", outputs, *files).code == 0
    assert snapshot(outputs) == before
    assert all((tmp_path / name).stat().st_size for name in ("a.csv", "a.json", "a.html", "p/losses.png"))


def test_where_sort_top_and_columns(call, outputs: Path) -> None:
    found = call(
        "compare",
        outputs,
        "--where",
        "optimizer.learning_rate<1e-3",
        "--max",
        "seed",
        "--top",
        1,
        "--columns",
        "run,seed",
        "--csv",
        "-",
    )
    assert found.output == "run,seed\n1-job,1\n"


def test_json_on_the_terminal_is_json_alone(call, outputs: Path) -> None:
    content = json.loads(call("compare", outputs, "--json", "-").output)
    assert [run["seed"] for run in content["runs"]] == [0, 1, 0, 1]


def test_group_by_seed(call, outputs: Path) -> None:
    found = call("compare", outputs, "--group-by", "seed")
    assert "± " in found.output
    assert found.output.count("2 finished") == 2


def test_the_first_fifty_rows_and_how_many_more(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: Path
) -> None:
    monkeypatch.setattr(cli, "SHOWN_ROWS", 3)
    monkeypatch.setattr(cli._render, "__defaults__", (3,))
    found = call("compare", outputs)
    assert found.output.count("-job") == 3
    assert "1 more rows" in found.output
    assert call("compare", outputs, "--all").output.count("-job") == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: PATH"),
        (["OUT", "--where", "status=finished"], "--where: 'status=finished' is no expression"),
        (["OUT", "--where", "sed==1"], "did you mean seed?"),
        (["OUT", "--sort", "g_los"], "did you mean g_loss?"),
        (["OUT", "--columns", "nothing.like.it"], "no run has the key nothing.like.it"),
        (["OUT", "--group-by", "sed"], "did you mean seed?"),
        (["OUT", "--top", "0"], "at least 1 is needed"),
        (["OUT", "--top", "x"], "--top"),
        (["OUT", "--min", "seed", "--max", "seed"], "not allowed with"),
        (["OUT", "--csv", "-", "--json", "-"], "can't share"),
        (["OUT", "--html", "/nonexistent/page.html"], "there is no folder /nonexistent"),
        (["OUT", "--html", "OUT/0-job/page.html"], "lies in the run folder"),
        (["OUT", "--plots", "OUT/0-job"], "lies in the run folder"),
        (["/nonexistent"], "/nonexistent: no such folder"),
    ],
)
def test_a_bad_argument_is_one_line_and_code_2(call, outputs: Path, arguments: list[str], told: str) -> None:
    found = call("compare", *[argument.replace("OUT", str(outputs)) for argument in arguments])
    assert found.code == 2
    assert told in found.errors
    assert found.errors.count("\n") == 1
    assert found.output == ""


def test_losses_of_two_loss_functions_are_refused(call, tmp_path: Path) -> None:
    make_run(tmp_path / "a", rows=1, grid=None)
    make_run(tmp_path / "b", rows=1, grid=None, loss__name="hinge")
    found = call("compare", tmp_path, "--sort", "g_loss")
    assert found.code == 2
    assert "different loss functions (hinge, non_saturating)" in found.errors
    assert call("compare", tmp_path, "--sort", "g_loss", "--where", "loss.name==hinge").code == 0
    assert "The loss functions differ" in call("compare", tmp_path).errors


def test_hostile_folders_leave_the_rest_and_the_terminal_alone(call, tmp_path: Path) -> None:
    make_run(tmp_path / "good\x1b[31m\n[bold]", rows=1, name="\x1b]0;title\x07")
    bad = make_run(tmp_path / "bad\x1b[2J", rows=1)
    (bad / runs.CONFIG).write_text("{")
    found = call("compare", tmp_path)
    assert found.code == 0
    assert r"good\x1b[31m\n[bold]" in found.output
    assert "\x1b" not in found.output + found.errors
    assert found.errors.count("\n") == 1
    assert r"bad\x1b[2J" in found.errors


def test_odd_numbers_and_names_reach_every_output(call, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs" / "odd", rows=2)
    huge = int("9" * 4000)
    record = json.loads((folder / runs.RECORD).read_text())
    record |= {"seconds": huge, "iteration": huge, "started": huge, "host": ["x"], "reason": {"a": 1}}
    (folder / runs.RECORD).write_text(json.dumps(record | {"final": {"g_loss": huge, "d_loss": 1e308, "\x1b": 1}}))
    keys = ["seed: 0x" + "f" * 9000, "'<b>': .nan", "__proto__: 1", "status: 7", "loss: {name: [1, {}]}"]
    (folder / runs.CONFIG).write_text("\n".join(keys))
    rows = ["1e400,nan,-inf,1e308,,x,5,-1", "-3,1,1,1,1,1,1,1", "\0,,,,,,,"]
    (folder / runs.METRICS).write_text("\n".join([*(folder / runs.METRICS).read_text().splitlines(), *rows, ""]))
    (folder / runs.SAMPLES / "\u00b2.png").touch()
    (folder / runs.SAMPLES / f"{'9' * 200}.png").write_bytes(runs.sample_path(folder, 10).read_bytes())
    for name in ("one", "three"):
        make_run(tmp_path / "runs" / name, rows=2, seed=len(name))
    files = ("--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    for options in ((), ("--group-by", "status"), ("--group-by", "loss.name", "--sort", "seconds")):
        found = call("compare", tmp_path / "runs", *files, "--plots", tmp_path / "p", *options)
        assert (found.code, "Traceback" in found.errors) == (0, False)


def test_no_run_left_by_where_is_said(call, outputs: Path) -> None:
    found = call("compare", outputs, "--where", "seed>7")
    assert (found.code, found.output) == (0, "no run is left\n")
    assert call("compare", outputs, "--where", "seed>7", "--csv", "-").code == 0


def test_diff_shows_only_what_differs(call, outputs: Path) -> None:
    found = call("diff", outputs / "0-job", outputs / "2-job")
    assert found.code == 0
    assert "optimizer.learning_rate" in found.output
    assert "latent_dim" not in found.output
    assert call("diff", outputs / "0-job", outputs / "0-job").output == "nothing differs\n"
    assert call("diff", outputs / "0-job", outputs).code == 2


def test_help_has_examples_for_every_verb(call) -> None:
    for verb in cli.VERBS:
        found = call(verb, "--help")
        assert found.code == 0
        assert f"examples:\n  dcgan-exp {verb} " in found.output
    assert call().code == 2


def process(*arguments: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dcgan_exp", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_a_closed_pipe_is_no_error(outputs: Path) -> None:
    running = process("compare", outputs, "--json", "-")
    assert running.stdout
    running.stdout.close()
    assert running.wait(20) == 0
    assert running.stderr
    assert "Traceback" not in running.stderr.read()
    running.stderr.close()


def test_watch_redraws_until_it_is_stopped(tmp_path: Path) -> None:
    make_run(tmp_path / "0-job", rows=1, grid=None)
    running = process("compare", tmp_path, "--watch", env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert running.stdout
    seen = ""
    while "0-job" not in seen:
        seen = running.stdout.readline()
    make_run(tmp_path / "1-job", rows=1, grid=None)
    while "1-job" not in seen:
        seen = running.stdout.readline()
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=600)
    assert (running.returncode, errors) == (0, "")


def test_no_tensorflow_on_the_way_to_an_answer(outputs: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from dcgan_exp import cli
try:
    cli.main(["compare", {str(outputs)!r}, "--html", {str(tmp_path / "a.html")!r}, "--plots", {str(tmp_path / "p")!r}])
except SystemExit as end:
    assert not end.code
assert not {{"tensorflow", "keras", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=600)
