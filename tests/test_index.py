"""Many run folders at once, whoever made them, and the cache of what they hold."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_folders import default_row, make_run

from dcgan_exp import index, runs


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "dcgan-exp"


def age(folder: Path, seconds: float = 60) -> None:
    """Make a run's files look as if they had been left alone for a while."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)


def test_runs_are_found_at_any_depth_in_natural_order_and_once(tmp_path: Path) -> None:
    for name in ("a/10-x", "a/2-x", "b"):
        make_run(tmp_path / name, rows=1, grid=None)
    (tmp_path / "b" / "inner").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    entries, left_out = index.read_all([tmp_path, tmp_path / "b", tmp_path / "loop" / "a"])
    assert [entry.folder.name for entry in entries] == ["2-x", "10-x", "b"]
    assert left_out == []


def test_a_row_has_final_and_best_with_its_iteration(tmp_path: Path) -> None:
    row = {10: 3.0, 20: 1.0, 30: 2.0}
    folder = make_run(
        tmp_path / "run", rows=3, grid=None, row=lambda i: {**default_row(i), "g_loss": row[i], "coverage": -row[i]}
    )
    entry = index.read_entry(folder)
    assert entry.final["g_loss"] == 2
    assert entry.best["g_loss"] == (1, 20)
    assert entry.best["coverage"] == (-1, 20)
    assert "d_accuracy" not in entry.best  # neither high nor low is better


def test_the_iteration_is_that_of_the_last_row_where_the_record_is_older(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", status="killed", rows=3, grid=None)
    record = json.loads((folder / runs.RECORD).read_text())
    (folder / runs.RECORD).write_text(json.dumps(record | {"iteration": 7}))
    assert index.read_entry(folder).record["iteration"] == 30


def test_the_second_reading_comes_from_the_cache(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run", rows=3, grid=None)
    age(folder)
    first, _ = index.read_all([tmp_path])
    assert list(cache.iterdir())
    monkeypatch.setattr(index, "read_entry", lambda _: pytest.fail("read again"))
    assert index.read_all([tmp_path])[0] == first


def test_what_changed_is_read_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=3, grid=None)
    age(folder)
    index.read_all([tmp_path])
    with open(folder / runs.METRICS, "a") as file:
        values = {"iteration": "40", "images_seen": "320", "d_loss": "0.1", "g_loss": "0.2", "seconds": "9"}
        file.write(",".join(values.get(column, "") for column in runs.COLUMNS) + "\n")
    assert index.read_all([tmp_path])[0][0].best["d_loss"] == (0.1, 40)


def test_the_same_size_and_time_but_another_file_is_read_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=3, grid=None)
    age(folder)
    index.read_all([tmp_path])
    path = folder / runs.RECORD
    old = path.stat()
    runs.write_whole(path, path.read_bytes().replace(b'"finished"', b'"failed" ' + b" "))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    assert index.read_all([tmp_path])[0][0].run.status == "failed"


def test_what_was_written_this_instant_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    make_run(tmp_path / "run", rows=1, grid=None)
    index.read_all([tmp_path])
    assert not cache.exists() or not any(json.loads(path.read_bytes())["entries"] for path in cache.iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"format": 1}', b"\xff\x00", b'{"format":1,"version":"?","entries":3}']
)
def test_a_damaged_cache_is_ignored(tmp_path: Path, cache: Path, content: bytes) -> None:
    folder = make_run(tmp_path / "run", rows=1, grid=None)
    age(folder)
    index.read_all([tmp_path])
    for path in cache.iterdir():
        path.write_bytes(content)
    assert len(index.read_all([tmp_path])[0]) == 1


def test_a_damaged_entry_of_the_cache_is_ignored(tmp_path: Path, cache: Path) -> None:
    age(make_run(tmp_path / "run", rows=1, grid=None))
    index.read_all([tmp_path])
    (path,) = cache.iterdir()
    content = json.loads(path.read_bytes())
    for entry in content["entries"].values():
        del entry["entry"]["config"]
    path.write_text(json.dumps(content))
    assert index.read_all([tmp_path])[0][0].config["seed"] == 0


def test_no_cache_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(make_run(tmp_path / "run", rows=1, grid=None))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(index.read_all([tmp_path])[0]) == 1


def test_the_cache_forgets_folders_that_are_gone(tmp_path: Path, cache: Path) -> None:
    for name in ("a", "b"):
        age(make_run(tmp_path / name, rows=1, grid=None))
    index.read_all([tmp_path])
    (tmp_path / "a").rename(tmp_path.parent / f"{tmp_path.name}-away")
    index.read_all([tmp_path])
    (path,) = cache.iterdir()
    assert [Path(key).name for key in json.loads(path.read_bytes())["entries"]] == ["b"]


# A billion keys in a kilobyte, were its aliases followed.
LAUGHS = b"k0: &a0 {q: 1}\n" + b"".join(
    f"k{level}: &a{level} {{{', '.join(f'p{place}: *a{level - 1}' for place in range(9))}}}\n".encode()
    for level in range(1, 12)
)
DAMAGE = {
    "an empty record": (runs.RECORD, b""),
    "a record that is a list": (runs.RECORD, b"[1]"),
    "a deep record": (runs.RECORD, b"[" * 100_000),
    "a configuration cut in half": (runs.CONFIG, b"seed: 1\noptimizer: {learning"),
    "a configuration of another kind": (runs.CONFIG, b"- 1\n- 2"),
    "a configuration with a tag": (runs.CONFIG, b"a: !!python/object/apply:os.system ['touch pwned']"),
    "a deep configuration": (runs.CONFIG, b"{a: " * 5000),
    "a deep block configuration": (runs.CONFIG, b"- " * 5000 + b"1"),
    "a configuration without an end": (runs.CONFIG, LAUGHS),
    "a configuration that holds itself": (runs.CONFIG, b"a: &a {b: *a}"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_rest_is_read_beside_a_damaged_folder(tmp_path: Path, damage: str) -> None:
    make_run(tmp_path / "good", rows=1, grid=None)
    bad = make_run(tmp_path / "bad", rows=1, grid=None)
    name, content = DAMAGE[damage]
    (bad / name).write_bytes(content)
    code = f"from dcgan_exp import index; from pathlib import Path; e, l = index.read_all([Path({str(tmp_path)!r})]); "
    code += "print(*[x.folder.name for x in e]); print(*l, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True, cwd=tmp_path
    )
    first, *lines = done.stdout.splitlines()
    assert first == "good"
    assert len(lines) == 1
    assert "bad" in lines[0]
    assert not (tmp_path / "pwned").exists()


def test_a_pipe_in_a_run_folder_ends(tmp_path: Path) -> None:
    bad = make_run(tmp_path / "bad", rows=1, grid=None)
    (bad / runs.CONFIG).unlink()
    os.mkfifo(bad / runs.CONFIG)
    assert index.read_all([tmp_path])[1] == [f"left out: {bad / runs.CONFIG} can't be read: it is not a file"]


def test_a_half_written_line_is_left_out_and_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=3, grid=None)
    with open(folder / runs.METRICS, "a") as file:
        file.write("40,320,0.0")
    entries, left_out = index.read_all([tmp_path])
    assert entries[0].best["d_loss"][1] <= 30
    assert left_out == [f"{folder}: 1 damaged or half-written lines of its metrics were left out"]


def test_a_run_without_metrics_is_kept_and_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=3, grid=None)
    (folder / runs.METRICS).unlink()
    entries, left_out = index.read_all([tmp_path])
    assert len(entries) == 1
    assert "its metrics can't be read" in left_out[0]


def test_odd_facts_in_a_record_do_no_harm(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=1, grid=None)
    odd = {
        "status": "running",
        "pid": "x",
        "heartbeat": {},
        "host": 3,
        "iteration": "many",
        "final": [1],
        "best": {"iteration": "x"},
        "seconds": "long",
        "versions": 3,
        "data": "mnist",
    }
    (folder / runs.RECORD).write_text(json.dumps(odd))
    (entry,), _ = index.read_all([tmp_path])
    assert entry.run.status == "killed"
    assert entry.record["iteration"] == 10


def test_folders_without_runs_and_no_folders_are_said(tmp_path: Path) -> None:
    entries, left_out = index.read_all([tmp_path, tmp_path / "none"])
    assert entries == []
    assert left_out == [f"{tmp_path}: holds no runs", f"{tmp_path / 'none'}: no such folder"]
