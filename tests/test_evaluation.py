"""Scores in the loop: where they stand, which generator is kept, and that an interruption changes neither."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import tensorflow as tf
from conftest import SCORED

from dcgan_exp import checkpoints, evaluation, features, images, quality, resuming, runs
from dcgan_exp.config import Config, compose, objective_of
from dcgan_exp.data import Dataset
from dcgan_exp.evaluation import CHOICE, Evaluation, best_part
from dcgan_exp.features import Note
from dcgan_exp.gan import GAN
from dcgan_exp.sampling import load_generator
from dcgan_exp.training import train

Make = Callable[..., Config]


def scores_at(folder: Path) -> dict[int, float]:
    columns = runs.read(folder).metrics()
    return {int(i): score for i, score in zip(columns["iteration"], columns[CHOICE], strict=True) if score is not None}


def test_scores_stand_in_rows_of_their_own_interval(scored_run: Path) -> None:
    assert runs.read(scored_run).metrics()["iteration"] == [2, 3, 4, 6]
    assert list(scores_at(scored_run)) == [3, 6]
    assert list(runs.read(scored_run).samples()) == [0, 2, 4, 6]


def test_a_row_is_the_score_of_the_generator_at_that_iteration(
    scored_run: Path, small_config: Make, digits: Dataset
) -> None:
    gan, config = GAN(small_config(*SCORED), digits.images), small_config(*SCORED)
    gan.train(0, 3)
    latents = np.concatenate(list(evaluation.latent_batches(600, config.latent_dim, config.sample_seed)))
    assert latents.shape == (600, 10)
    drawn = images.to_uint8(gan.generate(tf.constant(latents)).numpy())
    expected, columns = quality.Yardstick(digits).score(drawn), runs.read(scored_run).metrics()
    for name, value in expected.items():
        assert columns[name][1] == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_the_generator_with_the_best_score_is_kept(scored_run: Path, small_config: Make, digits: Dataset) -> None:
    record, scores = runs.read(scored_run).record, scores_at(scored_run)
    best = min(scores, key=lambda iteration: scores[iteration])
    assert (record["best"]["iteration"], record["best"][CHOICE]) == (best, scores[best])
    assert record["yardstick"]["samples"] == 600
    gan = GAN(small_config(*SCORED), digits.images)
    gan.train(0, best)
    kept = load_generator(runs.read(scored_run), "best").network.get_weights()
    for ours, expected in zip(kept, gan.averaged_generator.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("second", [0.5, 2.0])
def test_only_a_better_score_replaces_the_kept_one(small_config: Make, digits: Dataset, second: float) -> None:
    gan = GAN(small_config(), digits.images)
    evaluated = Evaluation(gan, digits)
    assert evaluated.keep_if_best(1, {CHOICE: 1.0})
    first_weights = [weight.copy() for weight in evaluated.weights]
    gan.train(0, 1)
    assert evaluated.keep_if_best(2, {CHOICE: second}) == (second < 1)
    is_first = all(np.array_equal(a, b) for a, b in zip(evaluated.weights, first_weights, strict=True))
    assert is_first == (second > 1)


def same_end(first: Path, second: Path) -> None:
    one, two = (checkpoints.load(runs.checkpoint_path(folder, 6)) for folder in (first, second))
    assert checkpoints.differences(one.arrays, two.arrays) == []
    assert best_part(one.arrays)
    assert runs.read(first).record["best"] == runs.read(second).record["best"]
    name = "generator_best"
    assert runs.network_path(first, name).read_bytes() == runs.network_path(second, name).read_bytes()
    rows, again = ({**runs.read(folder).metrics(), "seconds": []} for folder in (first, second))
    assert rows == again


def test_a_stop_while_it_scores_loses_nothing(
    scored_run: Path, small_config: Make, tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Evaluation.score

    def stopped(self: Evaluation, note: Note) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return score(self, note)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "score", stopped)
        outcome = train(small_config(*SCORED), digits, tmp_path / "run")
    assert outcome.status == "interrupted"
    assert runs.read(tmp_path / "run").metrics()["iteration"] == [2]
    assert [int(path.stem) for path in runs.checkpoint_paths(tmp_path / "run")] == [3]
    assert resuming.resume(tmp_path / "run").status == "finished"
    same_end(scored_run, tmp_path / "run")


def test_a_stop_while_a_feature_network_is_trained_is_not_made_to_wait(
    small_config: Make, tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(_images: object, _labels: object, _epochs: int, note: Note) -> NoReturn:
        signal.raise_signal(signal.SIGTERM)
        note("a step")
        pytest.fail("the note returned")

    monkeypatch.setattr(features, "train", trained)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outcome = train(small_config(*SCORED), replace(digits, name="drawings"), tmp_path / "run")
    assert (outcome.status, outcome.reason) == ("interrupted", "SIGTERM")
    assert [int(path.stem) for path in runs.checkpoint_paths(tmp_path / "run")] == [3]


def test_a_stop_within_the_last_score_leaves_the_run_unfinished(
    scored_run: Path, small_config: Make, tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = Evaluation.score, []

    def stopped(self: Evaluation, note: Note) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return score(self, note)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "score", stopped)
        outcome = train(small_config(*SCORED), digits, tmp_path / "run")
    assert (outcome.status, outcome.reason) == ("interrupted", "Ctrl-C")
    assert runs.read(tmp_path / "run").metrics()["iteration"] == [2, 3, 4]
    assert resuming.resume(tmp_path / "run").status == "finished"
    same_end(scored_run, tmp_path / "run")


def test_a_generator_kept_after_the_checkpoint_goes_when_its_score_is_made_again(
    small_config: Make, tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    train(small_config(*SCORED, "iterations=2"), digits, folder)
    runs.network_path(folder, "generator_best").write_bytes(b"of an iteration after the checkpoint")
    monkeypatch.setattr(Evaluation, "is_due", lambda *_: False)
    assert resuming.resume(folder, ["iterations=4"]).status == "finished"
    assert not runs.network_path(folder, "generator_best").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "best.training_kernel_distance"),
        (["iterations=100"], "g_loss"),
        (["eval_interval=null"], "g_loss"),
        (["objective=d_loss"], "d_loss"),
    ],
)
def test_what_a_sweep_minimises(overrides: list[str], expected: str) -> None:
    assert objective_of(compose(overrides)) == expected
