"""A generator for other programs: written, opened again by the runtime that will open it, compared, described.

The network is the run's, in float32 and of Keras' own layers. A folder appears whole or not at all.
"""

import contextlib
import importlib.util
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import yaml

from dcgan_exp import cards, images, runs
from dcgan_exp.sampling import Generator

COMPARED = 64  # samples
TOLERANCE = 1e-4  # the largest difference of a pixel, in [-1, 1]
CARD, GRID, CONFIG = "README.md", "samples.png", "config.yaml"

Images = npt.NDArray[np.float32]


def export(run: runs.Run, generator: Generator, kind: str, folder: Path) -> float:
    """Make the folder: the network as `kind`, a model card, a grid and the configuration.

    Returns the largest difference between 64 samples of the original and of what was written. An earlier export in
    its place is replaced. Raises RunError where the difference exceeds 1e-4, a package is missing, or something else
    is in that place.
    """
    check_package(kind)
    _check_replaceable(folder)
    name, write, read = FORMATS[kind]
    temporary, earlier = (folder.with_name(f".{folder.name}.{os.getpid()}{end}") for end in (".tmp", ".old.tmp"))
    try:
        temporary.mkdir()
        with _quiet():
            generator.network(generator.latents(1, 0))  # Keras exports no network that was never called by itself
            write(generator.network, temporary / name)
            difference = compare(generator, read(temporary / name))
        if not difference <= TOLERANCE:
            raise runs.RunError(f"{kind}: samples differ by {difference:.2g} from the original, more than {TOLERANCE}")
        grid = images.grid_png(generator.sample(16, 0))
        (temporary / GRID).write_bytes(grid)
        (temporary / CONFIG).write_text(yaml.safe_dump(run.config(), sort_keys=False))
        (temporary / CARD).write_text(cards.model_card(run, kind, name, generator.source, difference))
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
    finally:
        if earlier.exists() and not folder.exists():  # the new one could not take its place
            earlier.rename(folder)
        for remains in (temporary, earlier):
            shutil.rmtree(remains, ignore_errors=True)
    return difference


def check_package(kind: str) -> None:
    """Raises RunError where a format needs a package that is not installed."""
    needed = ("tf2onnx", "onnxruntime") if kind == "onnx" else ()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise runs.RunError(f"--format onnx needs {' and '.join(missing)}: pip install 'dcgan-exp[onnx]'")


def _check_replaceable(folder: Path) -> None:
    """Only what an export made is ever removed."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise runs.RunError(f"{folder} is no folder; choose another name")
    if not folder.is_dir():
        return
    others = {path.name for path in folder.iterdir()}
    if CARD in others and cards.MARK in (folder / CARD).read_text(errors="replace"):
        others -= {CARD, GRID, CONFIG, *(name for name, _, _ in FORMATS.values())}
    if others:
        raise runs.RunError(f"{folder} holds something else than an export ({min(others)}); choose another name")


def compare(generator: Generator, function: Callable[[Images], Images]) -> float:
    """The largest difference of a pixel between the original's images and another function's."""
    latents = generator.latents(COMPARED, 0)
    given = np.asarray(function(latents), np.float32)
    original = generator(latents)
    if given.shape != original.shape:
        raise runs.RunError(f"its images have the shape {given.shape} instead of {original.shape}")
    return float(np.abs(given - original).max())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters print much and warn of their own insides."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


# Formats -----------------------------------------------------------------------------------------


def _write_keras(network: keras.Model, path: Path) -> None:
    network.save(path)


def _read_keras(path: Path) -> Callable[[Images], Images]:
    network: Any = keras.saving.load_model(path)  # our own file, of a moment ago
    return lambda latents: network(latents).numpy()


def _write_savedmodel(network: keras.Model, path: Path) -> None:
    network.export(path, format="tf_saved_model", verbose=False)


def _read_savedmodel(path: Path) -> Callable[[Images], Images]:
    loaded: Any = tf.saved_model.load(str(path))
    return lambda latents: loaded.serve(tf.constant(latents)).numpy()


def _write_onnx(network: keras.Model, path: Path) -> None:
    network.export(path, format="onnx", verbose=False)


def _read_onnx(path: Path) -> Callable[[Images], Images]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(latents: Images) -> Images:
        images: Images = session.run(None, {name: latents})[0]
        return images

    return run


def _write_tflite(network: keras.Model, path: Path) -> None:
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())


def _read_tflite(path: Path) -> Callable[[Images], Images]:
    interpreter = tf.lite.Interpreter(model_path=str(path))
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(latents: Images) -> Images:
        interpreter.resize_tensor_input(given, latents.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given, latents)
        interpreter.invoke()
        images: Images = interpreter.get_tensor(made)
        return images

    return run


# kind -> the name of what is written, what writes it, and its own runtime, which makes a function of latents of it.
FORMATS: dict[str, tuple[str, Callable[[Any, Path], None], Callable[[Path], Callable[[Images], Images]]]] = {
    "keras": ("generator.keras", _write_keras, _read_keras),
    "savedmodel": ("generator", _write_savedmodel, _read_savedmodel),
    "onnx": ("generator.onnx", _write_onnx, _read_onnx),
    "tflite": ("generator.tflite", _write_tflite, _read_tflite),
}
