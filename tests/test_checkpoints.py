"""The checkpoint's file: exact, whole, and no bit of it changes unseen."""

import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from dcgan_exp import checkpoints, runs
from dcgan_exp.checkpoints import Checkpoint, DamageError
from dcgan_exp.config import Config, OptimizerConfig, to_dict

CONFIG = Config(optimizer=OptimizerConfig(learning_rate=1e-3))


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A small one, with every type that a run has."""
    arrays = {
        "generator.000": np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 20),
        "discriminator.000": np.array([3, 7], np.uint32),
        "generator_optimizer.000": np.array(41, np.int64),
        "augmentation.000": np.float32(0.25).reshape(()),
    }
    measures, record = {"d_loss": 0.1, "g_loss": 1 / 3}, {"name": "ü", "threads": 1}
    return Checkpoint(41, 1.5, measures, to_dict(CONFIG), record, {0: "ab", 40: "cd"}, 9, b"iteration\n40\n", arrays)


@pytest.fixture
def path(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    """Its file."""
    (tmp_path / runs.CHECKPOINTS).mkdir()
    path = runs.checkpoint_path(tmp_path, checkpoint.iteration)
    checkpoints.save(path, checkpoint)
    return path


def test_what_was_saved_is_read_back_bit_for_bit(path: Path, checkpoint: Checkpoint) -> None:
    loaded = checkpoints.load(path)
    assert checkpoints.differences(loaded.arrays, checkpoint.arrays) == []
    for name in (*checkpoints.FACTS, "metrics"):
        assert getattr(loaded, name) == getattr(checkpoint, name)
    assert loaded.typed_config() == CONFIG


def test_equal_checkpoints_give_equal_bytes(path: Path, checkpoint: Checkpoint) -> None:
    assert checkpoints.encode(checkpoint) == path.read_bytes()


def test_it_is_a_plain_safetensors_file(path: Path) -> None:
    assert safetensors.numpy.load_file(path)["discriminator.000"].tolist() == [3, 7]


def test_every_flipped_bit_is_found(path: Path) -> None:
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(DamageError):
            checkpoints.load(path)


def test_every_truncation_and_extension_is_found(path: Path) -> None:
    content = path.read_bytes()
    for length in random.Random(0).sample(range(len(content)), 50):
        path.write_bytes(content[:length])
        with pytest.raises(DamageError):
            checkpoints.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(DamageError):
        checkpoints.load(path)


def test_the_error_is_one_line_with_the_path(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(DamageError) as caught:
        checkpoints.load(path)
    assert str(caught.value) == f"{path} is damaged: it is cut off at 0 bytes"


def test_a_file_under_another_iteration_s_name_is_refused(path: Path) -> None:
    with pytest.raises(DamageError, match="it holds iteration 41"):
        checkpoints.load(path.rename(path.with_name("00000099.safetensors")))


@pytest.mark.parametrize(
    ("name", "value"), [("iteration", -1), ("seconds", "1"), ("record", []), ("grids", {"../x": "a"}), ("measures", 3)]
)
def test_a_stranger_s_facts_are_checked(path: Path, checkpoint: Checkpoint, name: str, value: object) -> None:
    object.__setattr__(checkpoint, name, value)
    path.write_bytes(checkpoints.encode(checkpoint))
    with pytest.raises(DamageError):
        checkpoints.load(path)


def test_differences_name_types_shapes_bits_and_what_is_missing() -> None:
    first = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32), "c": np.zeros(2), "d": np.array([-0.0])}
    second = {"a": np.zeros(2, np.float64), "b": np.zeros((2, 1), np.float32), "d": np.array([0.0])}
    assert checkpoints.differences(first, second) == ["a", "b", "c", "d"]
    nan = {"a": np.array([np.nan])}
    assert checkpoints.differences(nan, nan) == []
