"""One screen, one list, and what may be thrown away."""

from pathlib import Path

import pytest
from run_folders import make_run

from dcgan_exp import glances, index, locks, overview, runs


def waste(folder: Path) -> list[overview.Waste]:
    return overview.waste(glances.read_all([folder])[0])


def test_the_screen_tells_what_a_run_is(tmp_path: Path) -> None:
    screen = dict(overview.screen(index.read_entry(make_run(tmp_path / "run", name="blobs"))))
    assert screen["status"] == "finished"
    assert screen["progress"].startswith("iteration 200 of 200, 1,600 images")
    assert "mnist, 60000 images" in screen["data"]
    assert "seed=0" in screen["settings"]


def test_the_list_has_a_line_for_each_run(tmp_path: Path) -> None:
    for name, status in (("a", "finished"), ("b", "failed"), ("c", "killed")):
        make_run(tmp_path / name, status=status, rows=2, grid=None)
    lines = overview.aligned(overview.listing(glances.read_all([tmp_path])[0]))
    assert len(lines) == 4
    assert [line.split()[0] for line in lines] == ["status", "finished", "failed", "killed"]
    assert lines[1].endswith(str(tmp_path / "a"))


@pytest.mark.parametrize(("count", "text"), [(812, "812 B"), (6_553_600, "6.6 MB"), (123_000, "123 kB")])
def test_sizes_are_readable(count: int, text: str) -> None:
    assert overview.size_text(count) == text


def test_only_failed_runs_are_waste(tmp_path: Path) -> None:
    for status in ("finished", "failed", "killed", "interrupted"):
        make_run(tmp_path / status, status=status, rows=2, grid=None)
    assert [item.path.name for item in waste(tmp_path)] == ["failed"]


def test_a_failed_run_that_holds_another_run_is_kept(tmp_path: Path) -> None:
    make_run(tmp_path / "failed", status="failed", rows=2, grid=None)
    make_run(tmp_path / "failed" / "copies" / "good", rows=2, grid=None)
    assert not waste(tmp_path)


def test_old_checkpoints_of_a_finished_run_are_waste_once_its_generator_is_saved(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=2, grid=None)
    (folder / runs.CHECKPOINTS).mkdir(exist_ok=True)
    (folder / runs.CHECKPOINTS / "notes.txt").write_text("mine")
    oldest, older, newest = (runs.checkpoint_path(folder, iteration) for iteration in (20, 100, 200))
    for path in (newest, oldest, older):
        path.write_bytes(b"state")
    assert not waste(tmp_path)
    runs.network_path(folder, "generator").write_bytes(b"network")
    assert [item.path for item in waste(tmp_path)] == [oldest, older]
    assert overview.delete(waste(tmp_path)[0])
    assert not oldest.exists()
    assert runs.network_path(folder, "generator").exists()


def test_a_run_that_is_being_resumed_is_not_deleted(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", status="failed", rows=2, grid=None)
    (item,) = waste(tmp_path)
    with locks.held(folder):
        assert not overview.delete(item)
    assert (folder / runs.RECORD).exists()
    assert overview.delete(item)
    assert not folder.exists()


def test_what_a_run_removes_meanwhile_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run", rows=2, grid=None)
    (folder / ".run.json.12.tmp.x").write_text("half")
    entry = index.read_entry(folder)
    lstat = Path.lstat

    def vanished(path: Path) -> object:
        if path.name == runs.METRICS:
            raise FileNotFoundError
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanished)
    told = "\n".join(text for _, text in overview.screen(entry))
    assert "metrics.csv  " in told
    assert ".tmp" not in told


def test_a_run_that_went_on_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", status="failed", rows=2, grid=None)
    (item,) = waste(tmp_path)
    runs.amend(folder, status="finished")
    assert not overview.delete(item)
    assert folder.exists()
