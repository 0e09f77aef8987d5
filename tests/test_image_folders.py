"""Folders of image files, against arrays made by hand; and folders that nobody would wish for."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_decoding import strangers_files

from dcgan_exp import data, decoding_processes, image_folders
from dcgan_exp.config import ConfigError, DataConfig
from dcgan_exp.decoding_processes import Decoders
from dcgan_exp.image_arrays import fingerprint
from dcgan_exp.image_folders import ImageFolder, read, walk
from dcgan_exp.user_cache import cache_folder

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder("images")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four grey images in two class folders."""
    for name in ("b/1.png", "a/2.PNG", "b/0.png", "a/10.png"):
        save(tmp_path / "images" / name)
    return tmp_path / "images"


def save(path: Path, mode: str = "L", size: int = 8) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, (size, size, 3)[: 3 if mode == "RGB" else 2], np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels.reshape(size, size, -1)


def config(**values: object) -> DataConfig:
    return DataConfig("image_folder", **{"image_size": 8, "channels": None, **values})


def expected(folder: Path, *names: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / name)) for name in names])[..., None]


def refused(folder: Path, **values: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, config(**values))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoders, "decode", lambda *_: pytest.fail("it was decoded again"))


# What is read ------------------------------------------------------------------------------------


def test_class_folders_are_read_in_the_order_of_their_paths(folder: Path) -> None:
    found = read(folder, config())
    np.testing.assert_array_equal(found.images, expected(folder, "a/10.png", "a/2.PNG", "b/0.png", "b/1.png"))
    assert found.labels is not None
    assert (found.labels.tolist(), found.skipped, found.warning) == ([0, 0, 1, 1], [], None)
    assert found.fingerprint == fingerprint(np.array(found.images), found.labels)


def test_a_flat_folder_has_no_labels_nor_has_a_mixed_one(folder: Path) -> None:
    assert read(folder / "a", config()).labels is None
    save(folder / "beside.png")
    assert read(folder, config()).labels is None


def test_what_is_no_image_by_name_is_left_alone(folder: Path) -> None:
    for name in ("a/notes.txt", ".hidden.png", ".git/0.png", "a/._10.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no image")
    assert read(folder, config()).warning is None


def test_files_with_other_endings_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/1.tif", "a/2.TIF", "notes"):
        (folder / name).write_text("no image")
    read(folder, config())
    assert "(files with other endings are left alone: 3, .tif, no ending)" in capsys.readouterr().out
    assert "there is no image (files with other endings are left alone: 1, .tif) in it" in refused(
        only(folder / "only", "3.tif")
    )


def only(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / name).write_text("no image")
    return folder


def test_channels_are_those_of_the_files_unless_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = read(folder, config())
    assert grey.images.shape[3] == 1
    monkeypatch.setattr(decoding_processes, "BLOCK", 2)  # so that the colours come when something is written
    pixels = save(folder / "b/9.png", "RGB")
    mixed = read(folder, config())
    np.testing.assert_array_equal(mixed.images[:4], np.repeat(grey.images, 3, axis=3))
    np.testing.assert_array_equal(mixed.images[4], pixels)
    for channels in (1, 3):
        assert read(folder, config(channels=channels)).images.shape == (5, 8, 8, channels)


def test_widening_repeats_every_byte(tmp_path: Path) -> None:
    content = RANDOM.integers(0, 256, 2**21 + 17, np.uint8)
    with open(tmp_path / "file", "w+b", buffering=0) as file:
        file.write(content.tobytes())
        image_folders._widen(file, 3)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "file", np.uint8), content.repeat(3))


def test_links_are_followed_once_and_circles_end(folder: Path, tmp_path: Path) -> None:
    outside = save(tmp_path / "outside" / "0.png")
    (folder / "c").symlink_to(tmp_path / "outside")
    (folder / "c2").symlink_to(tmp_path / "outside")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a" / "self")
    found = read(folder, config())
    assert len(found.images) == 5
    np.testing.assert_array_equal(found.images[4], outside)


def test_a_link_to_a_folder_around_it_brings_nothing_in(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "private" / "0.png")
    (folder / "a" / "out").symlink_to("../..")
    (folder / "b" / "root").symlink_to("/")
    found = read(folder, config())
    assert len(found.images) == 4
    around = "it leads to a folder around this one"
    assert sorted(found.skipped) == [f"a/out: {around}", f"b/root: {around}"]


def test_names_may_hold_anything(folder: Path) -> None:
    for name in (b"new\nline.png", b"\xff\xfe.png", "ä ö.png".encode(), b"-rf.png", b"'\"$(x).png"):
        shutil.copy(folder / "a" / "10.png", os.fsencode(folder) + b"/" + name)
    (folder / "bad\n\udcff.png").write_text("no image")
    found = read(folder, config())
    assert len(found.images) == 9
    assert found.skipped == ["bad\\n\\xff.png: it is no PNG, JPEG, WebP, BMP or GIF"]
    assert found.warning is not None
    assert "\n" not in found.warning


def test_a_stream_from_disk_and_an_array_are_the_same_data(folder: Path, tmp_path: Path) -> None:
    found = data.load(config(path=str(folder)))
    np.savez(tmp_path / "own.npz", x_train=found.images, y_train=found.labels)
    same = data.load(DataConfig("npz", str(tmp_path / "own.npz"), image_size=8))
    assert same.fingerprint == found.fingerprint


# What can't be read ------------------------------------------------------------------------------


def test_bad_files_are_listed_counted_and_left_out(folder: Path) -> None:
    good = read(folder, config())
    reasons = strangers_files(folder / "a")
    reasons.pop("folder.png")  # here a folder is a folder, whatever its name
    found = read(folder, config())
    np.testing.assert_array_equal(found.images, good.images)
    np.testing.assert_array_equal(found.labels, good.labels)
    assert len(found.skipped) == len(reasons)
    for name, word in reasons.items():
        assert any(line.startswith(f"a/{name}: ") and word in line for line in found.skipped)
    assert f"{len(reasons)} can't be read (" in str(found.warning)
    assert str(found.warning).endswith(", left out")
    assert "data.on_bad_file=fail" in refused(folder, on_bad_file="fail")


def test_an_unreadable_file_and_folder_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    found = read(folder, config())
    assert (len(found.images), found.labels, found.skipped) == (2, None, ["b: Permission denied"])


@pytest.mark.parametrize("names", [[], ["text.png"], ["0.png"], ["0.png", "text.png"]])
def test_fewer_than_two_images_are_refused(tmp_path: Path, names: list[str], cache: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("no image") if "text" in name else save(folder / name)
    told = refused(folder)
    assert "2" in told
    assert ("can't be read" in told) == (len(names) == 2)
    assert not list(cache.glob("*.part"))


def test_an_absent_folder_and_a_file_are_refused(folder: Path) -> None:
    for path in (folder / "absent", folder / "a" / "10.png"):
        assert "no such folder" in refused(path)


def test_a_folder_that_changes_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Decoders.decode

    def decode_then_change(*arguments: Any) -> object:
        yield from decode(*arguments)
        save(folder / "b" / "new.png")
        os.utime(folder / "a" / "10.png", (1, 1))

    monkeypatch.setattr(Decoders, "decode", decode_then_change)
    changed = read(folder, config())
    assert len(changed.images) == 4
    assert "2 files or folders changed while they were read" in str(changed.warning)
    monkeypatch.undo()
    again = read(folder, config())
    assert (len(again.images), again.warning) == (5, None)


def test_a_file_that_goes_while_the_folder_is_read_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Decoders.decode

    def remove_then_decode(*arguments: Any) -> object:
        (folder / "b" / "0.png").unlink()
        yield from decode(*arguments)

    monkeypatch.setattr(Decoders, "decode", remove_then_decode)
    assert read(folder, config()).skipped == ["b/0.png: No such file or directory"]


# Cache -------------------------------------------------------------------------------------------


def test_processes_are_started_for_a_new_folder_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for owner, name in ((Decoders, "start"), (image_folders, "walk")):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, real=real, name=name: (order.append(name), real(*a))[1])
    read(folder, config())
    assert order[:2] == ["start", "walk"]
    order.clear()
    read(folder, config())
    assert order == ["walk"]
    for facts in cache_folder("images").glob("*/facts.json"):
        facts.write_text("[]")
    monkeypatch.undo()
    assert len(read(folder, config()).images) == 4


def test_what_was_decoded_once_is_mapped_from_then_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(folder, config())
    without_decoding(monkeypatch)
    second = read(folder, config())
    assert isinstance(second.images, np.memmap)
    np.testing.assert_array_equal(second.images, first.images)
    np.testing.assert_array_equal(second.labels, first.labels)
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: save(folder / "a" / "new.png"),
        lambda folder: (folder / "a" / "10.png").unlink(),
        lambda folder: (folder / "a" / "10.png").rename(folder / "a" / "11.png"),
        lambda folder: replace_keeping_its_times(folder / "a" / "10.png"),
    ],
)
def test_a_changed_folder_is_decoded_anew(folder: Path, change: Callable[[Path], object]) -> None:
    before = read(folder, config())
    change(folder)
    after = read(folder, config())
    files = [file.path for file in walk(folder).files]
    np.testing.assert_array_equal(after.images, expected(folder, *files))
    assert len(list(cache_folder("images").glob("*/facts.json"))) == 2
    assert before.images.shape[0] == 4  # still mapped


def replace_keeping_its_times(path: Path) -> None:
    status = path.stat()
    save(path)
    with open(path, "ab") as file:
        file.write(bytes(max(0, status.st_size - path.stat().st_size)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_other_settings_have_an_entry_of_their_own(folder: Path) -> None:
    asked = ({}, {"image_size": 16}, {"channels": 3})
    shapes = [read(folder, config(**values)).images.shape for values in asked]
    assert shapes == [(4, 8, 8, 1), (4, 16, 16, 1), (4, 8, 8, 3)]


def test_channels_that_were_left_to_the_files_are_not_decoded_again_once_they_are_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(folder, config())
    without_decoding(monkeypatch)
    assert read(folder, config(channels=1)).fingerprint == first.fingerprint


@pytest.mark.parametrize("file", ["images.raw", "labels.npy", "facts.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_damaged_or_deleted_cache_is_made_anew(folder: Path, cache: Path, file: str, content: bytes | None) -> None:
    good = read(folder, config())
    kept = np.array(good.images)
    path = next(cache.glob(f"*/{file}"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    np.testing.assert_array_equal(read(folder, config()).images, kept)
    shutil.rmtree(cache)
    np.testing.assert_array_equal(read(folder, config()).images, kept)


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
        assert "the disk is too full" in refused(folder)

    def write(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_folders, "_write", write)
    told = refused(folder)
    assert "No space left on device" in told
    assert "XDG_CACHE_HOME" in told
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_cache_that_can_not_be_made_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert "XDG_CACHE_HOME" in refused(folder)


def test_two_processes_decode_once_between_them(folder: Path) -> None:
    for index in range(200):
        save(folder / "a" / f"{index:03}.jpg")
    program = (
        "from pathlib import Path; from dcgan_exp import image_folders as f; from dcgan_exp.config import DataConfig\n"
        f"print(f.read(Path({str(folder)!r}), DataConfig('image_folder', image_size=8)).fingerprint)"
    )
    started = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=600)[0].splitlines() for process in started]
    assert len({lines[-1] for lines in told}) == 1
    assert sum("decoding 204 images" in line for lines in told for line in lines) == 1


def test_a_process_that_is_killed_leaves_no_half_of_an_entry(folder: Path, cache: Path) -> None:
    for index in range(3000):
        shutil.copy(folder / "a" / "10.png", folder / "a" / f"{index:04}.png")
    program = (
        "from pathlib import Path; from dcgan_exp import image_folders as f; from dcgan_exp.config import DataConfig\n"
        f"f.read(Path({str(folder)!r}), DataConfig('image_folder', image_size=8))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    while not list(cache.glob("*.part/images.raw")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not list(cache.glob("*/facts.json"))
    assert len(read(folder, config(channels=1)).images) == 3004
    assert not list(cache.glob("*.part"))


def test_the_facts_name_the_folder(folder: Path, cache: Path) -> None:
    found: ImageFolder = read(folder, config())
    facts = json.loads(next(cache.glob("*/facts.json")).read_text())
    assert (facts["folder"], facts["classes"], facts["fingerprint"]) == (str(folder), ["a", "b"], found.fingerprint)


def test_a_share_of_a_folder_is_held_out_unless_it_is_too_large_to_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.load(config(path=str(folder), held_out=0.0))
    held = data.load(config(path=str(folder), held_out=0.5))
    assert (held.is_held_out, whole.is_held_out) == (True, False)
    assert len(held.images) + len(held.test_images) == len(whole.images)
    together = [image.tobytes() for image in (*held.images, *held.test_images)]
    assert sorted(together) == sorted(image.tobytes() for image in whole.images)
    monkeypatch.setattr(data, "IN_MEMORY_BYTES", whole.images.nbytes - 1)
    large = data.load(config(path=str(folder), held_out=0.5))
    assert (large.is_held_out, large.test_images, len(large.images)) == (False, None, len(whole.images))
