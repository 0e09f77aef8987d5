"""`evaluate` gives the run's own scores again."""

import json
from pathlib import Path

import pytest
from calling import call

from dcgan_exp import runs


def test_every_generator_of_a_run_scores_as_it_did(
    scored_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.json"
    code, out, err = call(capsys, "evaluate", scored_run, "--checkpoint", "all", "--output", path)
    assert code == 0
    assert "scored against only 1,000 held-out images" in err
    assert "600 samples against 1,000 held-out images" in out
    found, run = json.loads(path.read_text()), runs.read(scored_run)
    assert found["yardstick"] == run.record["yardstick"]
    sources = [scores.pop("generator") for scores in found["scores"]]
    assert sources == ["checkpoint 3", "checkpoint 6", "generator_best.keras", "generator.keras"]
    columns = run.metrics()
    for number, scores in enumerate(found["scores"]):
        best = run.record["best"]
        recorded = {name: columns[name][1 if number == 0 else 3] for name in scores} if number != 2 else best
        assert scores == {name: pytest.approx(recorded[name], rel=1e-3, abs=1e-4) for name in scores}


def test_one_score_down_the_side(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "evaluate", finished_run, "--count", 200)
    assert code == 0
    assert "kernel_classifier_distance" in out
    assert "feature network mnist, SHA-256" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--checkpoint", "5"), "has no checkpoint 5"),
        (("--count", "1"), "100 to 1,000,000"),
        (("--output", "scores.txt"), "ends in .json"),
    ],
)
def test_what_it_refuses(
    finished_run: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str], message: str
) -> None:
    code, _, err = call(capsys, "evaluate", finished_run, *options)
    assert code == 2
    assert message in err
