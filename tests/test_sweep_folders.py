"""The record of a sweep: written before the first job, shared by many processes, safe to read from strangers."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan_exp import runs
from dcgan_exp.sweep_folders import RECORD, TABLE, WAITING, Job, Sweep

FACTS = {"objective": "g_loss", "is_maximised": False, "total": 2, "fixed": [], "pairs": {}}


def make(folder: Path) -> Sweep:
    return Sweep.create(folder, FACTS, [Job(0, "00-seed=1", ["seed=1"], {}), Job(1, "01-seed=2", ["seed=2"], {})])


def test_the_plan_is_there_before_any_job(tmp_path: Path) -> None:
    sweep = make(tmp_path / "sweep")
    assert [(job.overrides, job.status) for job in sweep.jobs()] == [(["seed=1"], WAITING), (["seed=2"], WAITING)]
    assert sweep.status(sweep.jobs()[0]) == WAITING


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(runs.RunError, match="holds a sweep already"):
        make(tmp_path)


def test_a_folder_with_a_jobs_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "01-seed=2").mkdir()
    with pytest.raises(runs.RunError, match="is there already"):
        make(tmp_path)
    assert not (tmp_path / RECORD).exists()


def test_what_becomes_of_a_job_stands_in_both_files(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    measures = {"final": {"g_loss": 2.0}, "best": {"x": {"value": 3}}}
    sweep.update(1, status="failed", reason='a "quoted", reason', seconds=1.5, **measures)
    job = json.loads((tmp_path / RECORD).read_text())["jobs"][1]
    assert (job["status"], job["seconds"]) == ("failed", 1.5)
    row = list(csv.DictReader((tmp_path / TABLE).read_text().splitlines()))[1]
    assert (row["number"], row["status"], row["reason"]) == ("1", "failed", 'a "quoted", reason')
    assert (row["overrides"], row["final.g_loss"], row["best.x"]) == ("seed=2", "2.0", "3")
    assert row["folder"] == str(tmp_path / "01-seed=2")


def test_many_processes_lose_no_row(tmp_path: Path) -> None:
    jobs = [Job(n, f"{n:02}-seed={n}", [f"seed={n}"], {}) for n in range(20)]
    Sweep.create(tmp_path, FACTS, jobs)
    code = (
        "import sys; from pathlib import Path; from dcgan_exp.sweep_folders import Sweep\n"
        "for n in range(int(sys.argv[2]), 20, 4): Sweep(Path(sys.argv[1])).update(n, status='finished')"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)]) for first in range(4)]
    assert [process.wait() for process in started] == [0, 0, 0, 0]
    assert {job.status for job in Sweep(tmp_path).jobs()} == {"finished"}


def test_refreshing_takes_what_the_run_folders_say(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    (tmp_path / "00-seed=1").mkdir()
    record = {"status": "interrupted", "reason": "SIGTERM", "final": {"g_loss": 1.0}}
    (tmp_path / "00-seed=1" / runs.RECORD).write_text(json.dumps(record))
    sweep.refresh()
    assert [(job.status, job.reason) for job in sweep.jobs()] == [("interrupted", "SIGTERM"), (WAITING, None)]


def test_one_process_runs_a_sweep(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    with sweep.only_supervisor():
        sweep.supervise()
        with pytest.raises(runs.RunError, match=f"process {os.getpid()} on "), Sweep(tmp_path).only_supervisor():
            pass


def test_a_sweep_whose_process_is_gone_is_to_end(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    sweep.supervise()
    assert not sweep.is_stopping()
    gone = {"host": socket.gethostname(), "pid": os.getpid(), "process_start": "1"}
    (tmp_path / ".state" / "supervisor.json").write_text(json.dumps(gone))
    assert sweep.is_stopping()
    (tmp_path / ".state" / "supervisor.json").write_text(json.dumps({**gone, "host": "elsewhere"}))
    assert not sweep.is_stopping()
    sweep.stop()
    assert sweep.is_stopping()


def test_a_replaced_folder_is_kept(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    for content in ("first", "second"):
        sweep.path(sweep.jobs()[0]).mkdir()
        (sweep.path(sweep.jobs()[0]) / "x").write_text(content)
        sweep.set_aside(sweep.jobs()[0])
    assert [(tmp_path / ".replaced" / f"00-seed=1-{n}" / "x").read_text() for n in (1, 2)] == ["first", "second"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"jobs": 3}', '{"jobs": [3]}', '{"jobs": [{}]}', "[" * 100_000],
)
def test_a_damaged_record_gets_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(runs.RunError, match=RECORD) as error:
        Sweep.open(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../outside", "/etc", ".hidden", "", "..", "a/b", "00-a'b"])
def test_a_strangers_record_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    job = {"number": 0, "folder": name, "overrides": [], "config": {}}
    (tmp_path / RECORD).write_text(json.dumps({**FACTS, "jobs": [job]}))
    with pytest.raises(runs.RunError, match="no folder's name"):
        Sweep.open(tmp_path)


def test_a_folder_that_is_no_sweep_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(runs.RunError, match="is not a sweep folder"):
        Sweep.open(tmp_path)
