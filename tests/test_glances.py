"""A line about a run, against what the whole reading of its folder tells."""

import json
from pathlib import Path

import yaml
from run_folders import make_run

from dcgan_exp import glances, index, overview, runs


def test_a_glance_tells_what_the_whole_reading_tells(tmp_path: Path) -> None:
    for name in ("finished", "killed", "running"):
        make_run(tmp_path / name, status=name, rows=5, grid=None)
    odd = make_run(tmp_path / "odd", status="killed", rows=3, grid=None)
    with open(odd / runs.METRICS, "a") as file:
        file.write("1,2\n3,4,half")
    values = yaml.safe_load((odd / runs.CONFIG).read_text())
    (odd / runs.CONFIG).write_text(json.dumps(values))
    (found, notes), (entries, _) = glances.read_all([tmp_path]), index.read_all([tmp_path])
    assert not notes
    for glance, entry in zip(found, entries, strict=True):
        assert (glance.folder, glance.iteration) == (entry.folder, entry.record["iteration"])
        assert glance.iterations == entry.config["iterations"]
        assert glance.seconds == entry.record["seconds"]
        assert glance.losses == [entry.final[name] for name in ("d_loss", "g_loss", "d_accuracy")]


def test_a_glance_at_a_strangers_folder(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=2, grid=None)
    record = {"status": [], "iteration": {}, "seconds": "x", "final": 3, "started": 2**99, "name": {}}
    (folder / runs.RECORD).write_text(json.dumps(record))
    (folder / runs.CONFIG).write_text("iterations: {}")
    (folder / runs.METRICS).write_text("iteration,d_loss\ninf,nan\n")
    (found,) = glances.read_all([tmp_path])[0]
    assert (found.iteration, found.iterations, found.seconds) == (0, None, None)
    assert overview.listing([found])[1][0] == "killed"
    (folder / runs.METRICS).unlink()
    (folder / runs.CONFIG).unlink()
    assert glances.glance(folder).losses == [None, None, None]
