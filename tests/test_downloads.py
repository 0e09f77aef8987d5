"""Keras' cache and the download into it; tests/test_data.py holds what a data set makes of them."""

import gzip
import hashlib
from pathlib import Path

import pytest

from dcgan_exp import downloads


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return downloads.keras_cache()


def test_another_content_than_the_known_one_is_refused_and_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"other")
    monkeypatch.setattr(downloads, "ORIGIN", f"{tmp_path.as_uri()}/")
    with pytest.raises(OSError, match="not the known file"):
        downloads.fetch("mnist.npz")
    assert not cache.exists()


def test_the_digest_is_of_what_a_gzip_file_holds() -> None:
    content = b"the same bytes"
    expected = hashlib.sha256(content).hexdigest()
    assert downloads._digest(content, compressed=False) == expected
    for level in (1, 9):
        assert downloads._digest(gzip.compress(content, level), compressed=True) == expected
    assert downloads._digest(b"no gzip", compressed=True) is None
