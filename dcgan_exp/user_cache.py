"""The user's cache folder: what can be made again, kept between runs. It may be deleted at any time."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def cache_folder(kind: str = "") -> Path:
    """Where this project keeps things of a kind for this user: below `$XDG_CACHE_HOME`, or else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~", ".cache").expanduser(), "dcgan-exp", kind)


def add(content: bytes, path: Path) -> None:
    """Write a file of a cache whole; one that is there already stays as it is. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-") as temporary:
        temporary.write(content)
        temporary.flush()
        os.fsync(temporary.fileno())
        os.fchmod(temporary.fileno(), 0o644)
        with suppress(FileExistsError):
            os.link(temporary.name, path)  # unlike a rename, never replaces a file
