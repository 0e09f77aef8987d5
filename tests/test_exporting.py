"""Exports open in their own runtimes with the original's images, and nothing else is ever replaced."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dcgan_exp import exporting, runs, sampling


@pytest.fixture(scope="module")
def generator(finished_run: Path) -> sampling.Generator:
    return sampling.load_generator(runs.read(finished_run), precision="float32")


@pytest.mark.parametrize("kind", ["keras", "savedmodel", "tflite", "onnx"])
def test_each_format_gives_the_originals_images(
    finished_run: Path, generator: sampling.Generator, tmp_path: Path, kind: str
) -> None:
    if kind == "onnx":
        pytest.importorskip("tf2onnx", reason="needs dcgan-exp[onnx]")
        pytest.importorskip("onnxruntime", reason="needs dcgan-exp[onnx]")
    assert exporting.export(runs.read(finished_run), generator, kind, tmp_path / "export") <= exporting.TOLERANCE
    name, _, read = exporting.FORMATS[kind]
    with exporting._quiet():
        function = read(tmp_path / "export" / name)
    latents = generator.latents(5, 9)
    np.testing.assert_allclose(function(latents), generator(latents), atol=exporting.TOLERANCE)
    assert {path.name for path in (tmp_path / "export").iterdir()} == {name, "README.md", "config.yaml", "samples.png"}


def test_an_export_replaces_an_export_only(finished_run: Path, generator: sampling.Generator, tmp_path: Path) -> None:
    run = runs.read(finished_run)
    exporting.export(run, generator, "keras", tmp_path / "export")
    exporting.export(run, generator, "keras", tmp_path / "export")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(runs.RunError, match="holds something else than an export"):
        exporting.export(run, generator, "keras", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "config.yaml").write_text("mine")  # the name is an export's, the folder is none
    with pytest.raises(runs.RunError, match=r"something else than an export \(config.yaml\)"):
        exporting.export(run, generator, "keras", tmp_path / "settings")
    (tmp_path / "export" / "notes.txt").write_text("mine")
    with pytest.raises(runs.RunError, match=r"something else than an export \(notes.txt\)"):
        exporting.export(run, generator, "keras", tmp_path / "export")
    assert (tmp_path / "export" / "notes.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "mine", "settings"]


def test_a_network_that_differs_is_not_handed_on(
    finished_run: Path, generator: sampling.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write, _ = exporting.FORMATS["keras"]
    other = (name, write, lambda path: lambda latents: generator(latents) + 0.001)
    monkeypatch.setitem(exporting.FORMATS, "keras", other)
    with pytest.raises(runs.RunError, match=r"samples differ by 0\.001"):
        exporting.export(runs.read(finished_run), generator, "keras", tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(runs.RunError, match=r"pip install 'dcgan-exp\[onnx\]'"):
        exporting.check_package("onnx")
