"""One process at a time in a run folder.

The kernel drops the lock with the process that holds it, however it ends, so a dead one never has to be waited for.
The file says who holds it, for the message. This module never imports TensorFlow.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcgan_exp import runs


class InUseError(runs.RunError):
    """Another process holds the lock."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises InUseError, with pid and host, while another process does; and OSError."""
    path = folder / runs.LOCK
    descriptor = _acquire(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(runs.this_process()).encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # gone with its folder
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            _lock(descriptor, path)
            if _is_still_there(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it meanwhile: the next one's file is another


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = _owner(descriptor)
        # A file system that can't lock leaves what the file says.
        if isinstance(error, BlockingIOError) or _is_alive(owner):
            raise InUseError(
                f"{path.parent} is in use by process {owner.get('pid', '?')} on {owner.get('host', '?')}"
            ) from None


def _owner(descriptor: int) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return owner if isinstance(owner, dict) else {}
    return {}


def _is_alive(owner: dict[str, Any]) -> bool:
    with contextlib.suppress(TypeError, ValueError):
        start = runs.process_start(int(owner.get("pid", -1)))
        return owner.get("host") == socket.gethostname() and start is not None and start == owner.get("process_start")
    return False


def _is_still_there(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
