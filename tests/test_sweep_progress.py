"""The lines and the table of a sweep."""

import math
from pathlib import Path

import pytest
from rich.console import Console

from dcgan_exp.sweep_folders import Job, Sweep
from dcgan_exp.sweep_progress import Progress, table

JOBS = [
    Job(0, "00", ["seed=1", "optimizer.generator.beta_1=0.5"], {}, "finished", None, 4.0),
    Job(1, "01", ["seed=2", "optimizer.discriminator.beta_1=0.5"], {}, "failed", "ValueError: [red]no[/]", 5.0),
    Job(2, "02", ["seed=3"], {}, "finished", None, 6.0),
    Job(3, "03", ["seed=4"], {}, "finished", None, 6.0),
    Job(4, "04", ["seed=5"], {}),
]


def shown(is_maximised: bool = False) -> list[list[str]]:
    record = {"objective": "g_loss", "is_maximised": is_maximised}
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table(JOBS, [2.0, 0.1, 1.0, math.nan, None], record))
    return [line.split() for line in capture.get().splitlines() if line.strip()]


def test_the_best_comes_first_and_failures_last() -> None:
    assert [row[0] for row in shown()[2:]] == ["2", "0", "1", "3", "4"]
    assert [row[0] for row in shown(is_maximised=True)[2:]] == ["0", "2", "1", "3", "4"]


def test_the_table_shows_what_differs_and_why_a_job_failed() -> None:
    header, rows = shown()[0], shown()[2:]
    assert header[:4] == ["job", "seed", "optimizer.generator.beta_1", "optimizer.discriminator.beta_1"]
    assert "ValueError: [red]no[/]" in " ".join(rows[2])
    assert rows[4][-2:] == ["not", "started"]


def test_a_line_tells_count_time_and_eta(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = Sweep.create(tmp_path, {"total": 2}, [Job(0, "00", [], {}), Job(1, "01", [], {})])
    progress = Progress(sweep, lambda: False)
    progress.start()
    sweep.update(1, status="killed", reason="SIGKILL", seconds=3.0)
    progress.stop()
    line = next(line for line in capsys.readouterr().out.splitlines() if "killed" in line)
    assert line.startswith("[1/2] 01 killed in 3.0 s: SIGKILL (elapsed ")
    assert "ETA" in line
