"""A stranger's run folder, with something hostile in it, through all that a person does with a run.

Whatever it holds: none of its code runs, nothing outside of it is written or told, and no verb says more than a line.
"""

import contextlib
import io
import json
import marshal
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calling import call
from test_images import BAD_FILES
from test_recovery import Exploit

from dcgan_exp import runs

SECRET = "the-owner-s-secret"
TOUCH = "touch HACKED"
EVIL_MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    """What puts a file of that content in the folder."""
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def config(pattern: str, replacement: str) -> Callable[[Path], object]:
    """What changes lines of config.yaml."""

    def change(folder: Path) -> None:
        text = (folder / runs.CONFIG).read_text()
        changed = re.sub(pattern, lambda _: replacement, text, count=1, flags=re.MULTILINE)
        assert changed != text
        (folder / runs.CONFIG).write_text(changed)

    return change


def link(name: str, outside: str = "secret.txt") -> Callable[[Path], object]:
    """What puts a link to something outside of the folder in a file's place."""

    def change(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(folder.parent / outside)

    return change


def pickled(name: str, is_array: bool = False) -> Callable[[Path], object]:
    """What puts a pickle that makes a file, plain or as an array of objects, in a file's place."""

    def change(folder: Path) -> None:
        exploit, file = Exploit(folder.parent / "HACKED"), io.BytesIO()
        if is_array:
            np.savez(file, x_train=np.array([exploit], object))
        (folder / name).write_bytes(file.getvalue() if is_array else pickle.dumps(exploit))

    return change


def keras_file(**members: bytes) -> Callable[[Path], object]:
    """What changes members of the saved generator; __ stands for a point."""

    def change(folder: Path) -> None:
        path = runs.network_path(folder, "generator")
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**content, **{key.replace("__", "."): value for key, value in members.items()}}.items():
                archive.writestr(name, data)

    return change


def lambda_layer() -> bytes:
    """A network whose only layer is Python's own byte code."""
    code = marshal.dumps(compile(f"__import__('os').system({TOUCH!r})", "layer", "eval"))
    layer = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": {"class_name": "__lambda__",
             "config": {"code": code.hex(), "defaults": None, "closure": None}}}}  # fmt: skip
    return json.dumps({"class_name": "Sequential", "module": "keras", "config": {"layers": [layer]}}).encode()


def named(name: str) -> Callable[[Path], object]:
    """What gives the run a name."""

    def change(folder: Path) -> None:
        runs.write_record(folder, {**runs.intact_record(folder), "name": name})
        config("^name: .*", f"name: {json.dumps(name)}")(folder)

    return change


def data_path(value: str) -> Callable[[Path], object]:
    """What makes the run's data lie elsewhere."""
    return config("^  path: .*", f"  path: {value}")


CHECKPOINT = "checkpoints/00000006.safetensors"
TARGET = f"_target_: os.system\ncommand: {TOUCH}\n"
HOSTILE: dict[str, Callable[[Path], object]] = {
    "hydra.yaml": write(".hydra/hydra.yaml", f"hydra:\n  callbacks:\n    x: {{_target_: os.system, command: {TOUCH}}}"),
    "overrides.yaml": write(".hydra/overrides.yaml", f"- +hydra.callbacks.x._target_=os.system\n- name=$({TOUCH})\n"),
    "multirun.yaml": write("multirun.yaml", f"hydra: {{launcher: {{_target_: os.system, command: {TOUCH}}}}}"),
    "config.yaml is a target": write(".hydra/config.yaml", TARGET),
    "target below a network": config("^  generator:$", f"  generator:\n    _target_: os.system\n    command: {TOUCH}"),
    "callbacks in config.yaml": config("^seed: .*", f"seed: 0\nhydra: {{callbacks: {{x: {{_target_: {TOUCH}}}}}}}"),
    "YAML tag that calls": config("^name: .*", f"name: !!python/object/apply:os.system ['{TOUCH}']"),
    "YAML tag that imports": config("^seed: .*", "seed: !!python/name:os.system"),
    "the environment as name": config("^name: .*", "name: ${oc.env:CANARY}"),
    "the environment as data": data_path("${oc.env:CANARY}"),
    "YAML that doubles": write(".hydra/config.yaml", "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(20))),
    "YAML that nests": write(".hydra/config.yaml", "[" * 100_000),
    "JSON that nests": write(runs.RECORD, "[" * 100_000),
    "pickle as checkpoint": pickled(CHECKPOINT),
    "pickled arrays as checkpoint": pickled(CHECKPOINT, is_array=True),
    "checkpoint that declares too much": write(CHECKPOINT, (2**62).to_bytes(8, "little") + b"{}"),
    "pickle as data": lambda folder: (pickled("data.npz")(folder), data_path(f"{folder}/data.npz")(folder)),
    "pickled arrays as data": lambda folder: (
        pickled("data.npz", is_array=True)(folder), data_path(f"{folder}/data.npz")(folder)),
    "data out of the folder": data_path("secret.txt"),
    "data without end": data_path("/dev/zero"),
    "Lambda layer": keras_file(config__json=lambda_layer()),
    "network of the module subprocess": keras_file(config__json=json.dumps(
        {"class_name": "Popen", "module": "subprocess", "config": {"args": TOUCH.split()}}).encode()),
    "network with a path out of the zip": keras_file(**{"../HACKED": b"written"}),
    "pickle as network": pickled("generator.keras"),
    "markup as name": named(EVIL_MARKUP),
    "terminal codes as name": named("\x1b]0;owned\x07\x1b[2J"),
    "PNG bomb as grid": write("samples/000004.png", BAD_FILES["bomb"]),
    "PNG whose text is a bomb": write("samples/000004.png", BAD_FILES["text bomb"]),
    "link as run.json": link(runs.RECORD),
    "link as metrics.csv": link(runs.METRICS),
    "link as run.log": link(runs.LOG),
    "link as config.yaml": link(".hydra/config.yaml"),
    "link as grid": link("samples/000004.png"),
    "link as checkpoints/": link("checkpoints", "elsewhere"),
    "pipe as metrics.csv": lambda folder: ((folder / runs.METRICS).unlink(), os.mkfifo(folder / runs.METRICS)),
}  # fmt: skip


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run beside what belongs to its new owner, who works there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANARY", SECRET)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "elsewhere").mkdir()
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_there_are_thirty_of_them() -> None:
    assert len(HOSTILE) >= 30


@pytest.mark.faults
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_hostile_gets_anywhere(kind: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    HOSTILE[kind](folder)
    for arguments in (
        ["info", "run"],
        ["list", "."],
        ["compare", "run", "--all-keys", "--html", "page.html", "--json", "runs.json"],
        ["sample", "run", "--count", "1", "--output", "sample.png"],
        ["nearest", "run", "--count", "1", "--output", "nearest.png"],
        ["resume", "run"],
        ["info", "run"],
    ):
        code, output, errors = call(capfd, *arguments)  # anything but an exit is raised, and fails the test
        told = output + errors
        assert code in (0, 1, 2)
        assert "Traceback" not in told
        assert code != 2 or errors
        assert SECRET not in told
        assert not set("\x1b\x07") & set(told)
    assert not list(folder.parent.rglob("HACKED"))
    assert (folder.parent / "secret.txt").read_text() == SECRET
    assert list((folder.parent / "elsewhere").iterdir()) == []
    for page in ("page.html", "runs.json"):
        with contextlib.suppress(FileNotFoundError):
            assert SECRET not in (folder.parent / page).read_text()
            assert EVIL_MARKUP not in (folder.parent / page).read_text() or page.endswith(".json")
