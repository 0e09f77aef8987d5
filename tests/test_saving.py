"""What a run leaves: equal bytes of equal networks, as many checkpoints as asked for, curves now and then."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from dcgan_exp import runs, saving
from dcgan_exp.config import Config
from dcgan_exp.data import Dataset
from dcgan_exp.evaluation import Evaluation
from dcgan_exp.gan import GAN

Make = Callable[..., Config]


@pytest.fixture
def recorder(tmp_path: Path, small_config: Make) -> runs.Recorder:
    with runs.logging_to(tmp_path):
        return runs.Recorder.create(tmp_path / "run", small_config())


def test_equal_networks_are_equal_files_whatever_was_built_before(
    small_config: Make, digits: Dataset, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        saving.save_networks(GAN(small_config("ema.decay=0.5"), digits.images), tmp_path / name)
        keras.Sequential([keras.layers.Dense(1) for _ in range(3)])
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["discriminator.keras", "generator.keras", "generator_raw.keras"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_the_best_generator_opens_with_plain_keras_and_goes_where_there_is_none(
    small_config: Make, digits: Dataset, tmp_path: Path
) -> None:
    gan = GAN(small_config(), digits.images)
    evaluation = Evaluation(gan, digits)
    evaluation.keep_if_best(3, {"training_kernel_distance": 1.0})
    saving.save_best(gan, evaluation, tmp_path)
    path = runs.network_path(tmp_path, "generator_best")
    latents = gan.sample_latents(5)
    expected = gan.generate(latents)
    np.testing.assert_allclose(keras.saving.load_model(path)(latents), expected, atol=1e-5)
    saving.save_best(gan, Evaluation(gan, digits), tmp_path)
    assert not path.exists()


def test_the_newest_checkpoints_are_kept(small_config: Make, digits: Dataset, recorder: runs.Recorder) -> None:
    gan = GAN(small_config("keep_checkpoints=2"), digits.images)
    (recorder.folder / runs.LOG).touch()
    for iteration in (1, 2, 3):
        saving.save(gan, Evaluation(gan, digits), recorder, saving.Position(iteration))
    assert [int(path.stem) for path in runs.checkpoint_paths(recorder.folder)] == [3, 2]


def test_curves_are_drawn_again_after_a_while(
    small_config: Make, digits: Dataset, recorder: runs.Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = saving.Draw(GAN(small_config(), digits.images), recorder), list[int]()
    monkeypatch.setattr(saving.Draw, "curves", lambda self: drawn.append(1))
    now = draw.drawn
    for later in (0.0, saving.CURVES_SECONDS - 1, saving.CURVES_SECONDS + 1):
        monkeypatch.setattr(saving.time, "monotonic", lambda later=later: now + later)
        draw.curves_now_and_then()
    assert drawn == [1]
