"""A resumed run is the same run: every variable, row and picture, bit for bit."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fault_injection import STATEFUL, differing, killed_copy, leftovers, record

from dcgan_exp import checkpoints, console, recovery, resuming, runs, training
from dcgan_exp.config import Config, ConfigError, compose
from dcgan_exp.data import Dataset

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A finished run of 9 iterations with all kinds of state, and a checkpoint at each iteration."""
    config = compose([*STATEFUL, "iterations=9", "checkpoint_interval=1", "keep_checkpoints=99"])
    folder = tmp_path_factory.mktemp("resuming") / "run"
    assert training.train(config, digits, folder).status == "finished"
    return folder


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a person is warned with."""
    lines: list[str] = []
    monkeypatch.setattr(console, "warn", lines.append)
    return lines


def contents(folder: Path) -> dict[str, bytes]:
    """Every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("iteration", [1, 6])
def test_a_killed_run_goes_on_as_if_nothing_had_been(run: Path, tmp_path: Path, iteration: int) -> None:
    copy = killed_copy(run, tmp_path / "copy", iteration)
    assert runs.read(copy).status == "killed"
    assert resuming.resume(copy).status == "finished"
    assert differing(copy, run) == []
    assert leftovers(copy) == []
    last = record(copy)["resumed"][-1]
    assert (last["iteration"], last["warnings"]) == (iteration, [])
    assert record(copy)["started"] == record(run)["started"]


def test_a_run_killed_between_its_last_checkpoint_and_its_end(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 9)
    outcome = resuming.resume(copy)
    assert outcome.measures == record(run)["final"]
    assert outcome.seconds >= checkpoints.load(runs.checkpoint_path(run, 9)).seconds
    assert differing(copy, run) == []


def test_resuming_a_finished_run_says_so_and_changes_nothing(run: Path) -> None:
    before = contents(run)
    outcome = resuming.resume(run)
    assert (outcome.status, outcome.reason) == ("finished", resuming.ALREADY_FINISHED)
    assert contents(run) == before


def test_results_that_nothing_can_go_on_from_are_not_lost(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    for path in (copy / runs.RECORD, *runs.checkpoint_paths(copy)):
        path.write_bytes(path.read_bytes()[:50])
    before = contents(copy)
    with pytest.raises(runs.RunError, match="holds results but no valid checkpoint to go on from"):
        resuming.resume(copy)
    assert contents(copy) == before


def test_a_finished_run_extended_is_the_longer_run(run: Path, tmp_path: Path, digits: Dataset) -> None:
    copy = killed_copy(run, tmp_path / "copy", 9)
    assert resuming.resume(copy, ["iterations=12"]).status == "finished"
    longer = compose([*STATEFUL, "iterations=12"])
    training.train(longer, digits, tmp_path / "longer")
    assert differing(copy, tmp_path / "longer") == []
    assert yaml.safe_load((copy / runs.CONFIG).read_text())["iterations"] == 12


def test_a_kill_at_the_start_of_an_extension_does_not_undo_it(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 9)
    runs.write_record(copy, runs.intact_record(run))
    text = (copy / runs.CONFIG).read_text()
    (copy / runs.CONFIG).write_text(text.replace("iterations: 9", "iterations: 10"))
    assert resuming.resume(copy).reason is None
    assert record(copy)["iteration"] == 10


def test_a_changed_configuration_is_refused_with_its_keys(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    with pytest.raises(runs.RunError, match=r"^batch_size=4 \(was 8\), seed=3 \(was 0\) would change.*--fork"):
        resuming.resume(run, ["batch_size=4", "seed=3"])
    with pytest.raises(runs.RunError, match="iterations=3: the run has done 9"):
        resuming.resume(run, ["iterations=3"])
    with pytest.raises(ConfigError, match="modle=wide: resume takes key=value"):
        resuming.resume(run, ["modle=wide"])
    with pytest.raises(ConfigError, match="keep_checkpoints=0: allowed"):
        resuming.resume(run, ["keep_checkpoints=0"])
    assert contents(run) == before


def test_another_number_of_devices_is_refused_where_each_normalises_alone(run: Path) -> None:
    found = recovery.examine(run)
    alone = replace(found.config, batch_normalization="per_replica")
    resuming._refuse_other_parts(found, alone, "1 CPU")
    resuming._refuse_other_parts(found, found.config, "2 workers with 1 CPU")
    with pytest.raises(runs.RunError, match=r"^2 workers with 1 CPU \(was 1 CPU\) would change.*--fork"):
        resuming._refuse_other_parts(found, alone, "2 workers with 1 CPU")


def test_a_fork_may_go_on_with_another_number_of_devices(run: Path, tmp_path: Path) -> None:
    resuming.copy(run, ["batch_normalization=per_replica"], tmp_path / "new")
    found = recovery.examine(tmp_path / "new")
    resuming._refuse_other_parts(found, found.config, "2 workers with 1 CPU")


def test_a_configuration_edited_by_hand_is_refused(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 4)
    text = (copy / runs.CONFIG).read_text()
    (copy / runs.CONFIG).write_text(text.replace("latent_dim: 10", "latent_dim: 11"))
    with pytest.raises(runs.RunError, match=r"latent_dim=11 \(was 10\)"):
        resuming.resume(copy)


def test_a_schedule_that_ends_with_the_run_is_not_extended(small_config: Make, digits: Dataset, tmp_path: Path) -> None:
    training.train(small_config("schedule=cosine", "iterations=2"), digits, tmp_path / "run")
    with pytest.raises(runs.RunError, match=r"schedule=cosine depends on it.*--fork"):
        resuming.resume(tmp_path / "run", ["iterations=4"])


def test_what_changes_no_result_may_change(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 6)
    resuming.resume(copy, ["name=renamed", "keep_checkpoints=1", "checkpoint_interval=2"])
    assert record(copy)["name"] == "renamed"
    assert len(runs.checkpoint_paths(copy)) == 1
    assert set(differing(copy, run)) <= {"pictures"}  # the curves' title


def test_a_fork_goes_on_differently_in_a_folder_of_its_own(run: Path, tmp_path: Path) -> None:
    before, new = contents(run), tmp_path / "new"
    assert resuming.resume(run, ["optimizer.learning_rate=1e-4", "iterations=12"], new).status == "finished"
    assert contents(run) == before
    assert runs.read(new).metrics()["iteration"] == [4, 8, 12]
    assert record(new)["forked_from"]["changed"] == {"iterations": 12, "optimizer.learning_rate": 1e-4}
    assert resuming.resume(new).reason == resuming.ALREADY_FINISHED
    with pytest.raises(runs.RunError, match="there already"):
        resuming.resume(run, [], new)


def test_a_fork_with_other_shapes_fails_in_one_line(run: Path, tmp_path: Path) -> None:
    outcome = resuming.resume(run, ["latent_dim=11"], tmp_path / "new")
    assert outcome.status == "failed"
    expected = r"the checkpoint of iteration 9 does not fit: averaged_generator.000 is float32 \(10, 784\) where.*"
    assert re.fullmatch(expected, outcome.reason or "")


def test_other_data_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset) -> None:
    copy = killed_copy(run, tmp_path / "copy", 4)
    before = contents(copy)
    monkeypatch.setattr(resuming.data, "load", lambda _: replace(digits, fingerprint="f" * 64))
    recorded = digits.fingerprint[:12]
    with pytest.raises(runs.RunError, match=f"not those of the run: fingerprint ffffffffffff, recorded is {recorded}"):
        resuming.resume(copy)
    assert contents(copy) == before


def test_other_threads_and_versions_are_warned_of_and_recorded(run: Path, tmp_path: Path, warnings: list[str]) -> None:
    copy = killed_copy(run, tmp_path / "copy", 8)
    path = runs.checkpoint_path(copy, 8)
    checkpoint = checkpoints.load(path)
    checkpoint.record["versions"]["tensorflow"] = "2.20.0"
    checkpoint.record["threads"] = 7
    checkpoints.save(path, checkpoint)
    assert resuming.resume(copy).status == "finished"
    assert [line.partition(":")[0] for line in warnings] == ["threads", "tensorflow"]
    assert record(copy)["resumed"][-1]["warnings"] == warnings


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(runs.RunError, match="not a run folder"):
        resuming.resume(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_machine_that_still_beats_is_refused(run: Path, tmp_path: Path) -> None:
    copy = killed_copy(run, tmp_path / "copy", 4)
    facts = {"host": "elsewhere", "pid": 77, "heartbeat": time.time() + 20}  # a clock that was set back since
    runs.write_record(copy, {**runs.intact_record(copy), "status": "running", **facts})
    with pytest.raises(runs.RunError, match="in use by process 77 on elsewhere"):
        resuming.resume(copy)
