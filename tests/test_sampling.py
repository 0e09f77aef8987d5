"""Images from run folders: the same numbers as the saved network gives, and no stranger's code."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from dcgan_exp import images, runs, sampling


@pytest.fixture(scope="module")
def generator(finished_run: Path) -> sampling.Generator:
    return sampling.load_generator(runs.read(finished_run))


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


def rewritten(path: Path, **members: bytes | None) -> None:
    """Change members of a .keras file."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "."): value for name, value in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


def test_the_rebuilt_network_is_the_saved_one(finished_run: Path, generator: sampling.Generator) -> None:
    saved = keras.saving.load_model(finished_run / "generator.keras")
    latents = generator.latents(7, 3)
    padded = np.pad(latents, ((0, sampling.BATCH - 7), (0, 0)))
    np.testing.assert_array_equal(generator(latents), saved(padded).numpy()[:7])


def test_pixels_are_those_of_the_grids(generator: sampling.Generator) -> None:
    latents = generator.latents(5, 0)
    np.testing.assert_array_equal(generator.pixels(latents), images.to_uint8(generator(latents)))
    np.testing.assert_array_equal(generator.pixels(latents), generator.sample(5, 0))


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_a_sample_does_not_depend_on_the_count(generator: sampling.Generator, count: int) -> None:
    np.testing.assert_array_equal(generator.sample(count, 5), generator.sample(300, 5)[:count])


def test_seeds_differ(generator: sampling.Generator) -> None:
    assert not np.array_equal(generator.latents(4, 1), generator.latents(4, 2))
    assert abs(generator.latents(1000, 1).std() - 1) < 0.02


def test_latents_of_another_shape_are_refused(generator: sampling.Generator) -> None:
    with pytest.raises(ValueError, match=r"\(n, 10\) are needed, not \(2, 11\)"):
        generator(np.zeros((2, 11)))


def test_no_latents_give_no_images(generator: sampling.Generator) -> None:
    assert generator(np.zeros((0, 10))).shape == (0, 28, 28, 1)


def test_a_checkpoint_gives_what_the_run_ended_with(finished_run: Path, generator: sampling.Generator) -> None:
    at_end = sampling.load_generator(runs.read(finished_run), "6")
    assert at_end.source == "checkpoint 6"
    np.testing.assert_array_equal(at_end.sample(3, 1), generator.sample(3, 1))


def test_the_checkpoints_that_are_there_are_listed(finished_run: Path) -> None:
    with pytest.raises(runs.RunError, match="has no checkpoint 5; there is 6, last"):
        sampling.load_generator(runs.read(finished_run), "5")
    with pytest.raises(runs.RunError, match="has no checkpoint best; there is 6, last"):
        sampling.load_generator(runs.read(finished_run), "best")


def test_a_run_in_training_gives_its_newest_checkpoint(copied_run: Path, generator: sampling.Generator) -> None:
    record = json.loads((copied_run / runs.RECORD).read_text())
    (copied_run / runs.RECORD).write_text(json.dumps({**record, "status": "running"}))
    runs.network_path(copied_run, "generator").unlink()
    runs.checkpoint_path(copied_run, 8).write_bytes(b"half a file")  # a damaged one is passed over
    found = sampling.load_generator(runs.read(copied_run))
    assert found.source == "checkpoint 6"
    np.testing.assert_array_equal(found.sample(3, 1), generator.sample(3, 1))


def test_a_run_without_a_generator_is_refused(copied_run: Path) -> None:
    runs.network_path(copied_run, "generator").unlink()
    runs.checkpoint_path(copied_run, 6).unlink()
    with pytest.raises(runs.RunError, match="holds no generator yet: it is finished at iteration 6"):
        sampling.load_generator(runs.read(copied_run))


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_a_damaged_generator_is_refused(copied_run: Path, length: int) -> None:
    path = runs.network_path(copied_run, "generator")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(runs.RunError, match="can't be read as this run's generator") as caught:
        sampling.load_generator(runs.read(copied_run))
    assert "\n" not in str(caught.value)


def test_no_code_of_a_stranger_runs(copied_run: Path, generator: sampling.Generator) -> None:
    """The configuration inside a .keras file is never looked at: it could name anything to call."""
    evil = {"class_name": "Popen", "module": "subprocess", "config": {"args": ["touch", str(copied_run / "evil")]}}
    rewritten(runs.network_path(copied_run, "generator"), config__json=json.dumps(evil).encode())
    found = sampling.load_generator(runs.read(copied_run))
    assert not (copied_run / "evil").exists()
    np.testing.assert_array_equal(found.sample(3, 1), generator.sample(3, 1))


def test_links_into_other_files_are_refused(copied_run: Path, tmp_path: Path) -> None:
    path = runs.network_path(copied_run, "generator")
    with zipfile.ZipFile(path) as archive:
        file = io.BytesIO(archive.read(sampling.WEIGHTS))
    with h5py.File(file, "a") as weights:
        shape = weights["layers/dense/vars/0"].shape
        with h5py.File(tmp_path / "secret.h5", "w") as secret:
            secret["numbers"] = np.ones(shape, np.float32)
        del weights["layers/dense/vars/0"]
        weights["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "numbers")
    rewritten(path, **{sampling.WEIGHTS.replace(".", "__"): file.getvalue()})
    with pytest.raises(runs.RunError, match="is no plain tensor"):
        sampling.load_generator(runs.read(copied_run))


def test_weights_of_other_shapes_are_refused(copied_run: Path) -> None:
    path = copied_run / runs.CONFIG
    path.write_text(path.read_text().replace("latent_dim: 10", "latent_dim: 11"))
    with pytest.raises(runs.RunError, match="where the configuration asks for"):
        sampling.load_generator(runs.read(copied_run))


def test_spherical_keeps_to_the_sphere() -> None:
    first, last = np.eye(2, 5)[:1], np.eye(2, 5)[1:]
    way = sampling.spherical(first, last, 5)
    assert way.shape == (5, 1, 5)
    np.testing.assert_allclose(np.linalg.norm(way, axis=2), 1, rtol=1e-6)
    np.testing.assert_allclose(way[[0, -1]], np.stack([first, last]), atol=1e-7)


def test_spherical_between_equal_ends_stays() -> None:
    point = np.ones((1, 4))
    np.testing.assert_allclose(sampling.spherical(point, point, 3), np.ones((3, 1, 4)))
