"""Files of the user's cache folder: whole, and never replaced."""

import os
import threading
from pathlib import Path

import pytest

from dcgan_exp import user_cache


def test_the_folder_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache.cache_folder("images") == tmp_path / "dcgan-exp" / "images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache.cache_folder() == tmp_path / ".cache" / "dcgan-exp"


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"theirs")
    user_cache.add(b"ours", tmp_path / "mnist.npz")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("mnist.npz", b"theirs")]


def test_many_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=user_cache.add, args=(content, tmp_path / "a" / "b")) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b").read_bytes() in contents


def test_what_can_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        user_cache.add(b"ours", tmp_path / "mnist.npz")
    assert list(tmp_path.iterdir()) == []
