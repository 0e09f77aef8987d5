"""The processes that decode image files, as many as there are cores; a file that crashes one of them costs no other."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from dcgan_exp import decoding
from dcgan_exp.concurrency import in_order
from dcgan_exp.decoding import Block, Settings

BLOCK = 64  # files that a worker decodes at a time
AHEAD = 4  # blocks a worker that may wait for an earlier one
PACKAGE_PARENT = Path(__file__).resolve().parent.parent


class Worker:
    """A process that decodes; it is started when it is needed, and anew after a file has crashed it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, paths: Sequence[str], settings: Settings) -> Block:
        """Raises EOFError where the process was killed over it."""
        process = self._process = self._process or self._started()
        try:
            decoding.ask(cast(BinaryIO, process.stdin), paths, settings)
            return decoding.answer(cast(BinaryIO, process.stdout))
        except (OSError, EOFError) as error:
            code = process.wait()
            self.close()
            if code > 0:  # the fault is not a file's
                raise RuntimeError(f"a process that decodes ended with exit code {code}") from error
            raise EOFError from error

    def _started(self) -> subprocess.Popen[bytes]:
        search_path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(  # noqa: S603  this very Python
            [sys.executable, "-P", "-m", decoding.__name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search_path},
            start_new_session=True,  # Ctrl-C reaches it only through this process
        )  # fmt: skip

    def kill(self) -> None:
        """End the process at once; a thread that waits for its answer gets an EOFError."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process and wait for its end."""
        self.kill()
        if self._process is not None:
            self._process.communicate()
        self._process = None


def decode(root: Path, paths: Sequence[str], settings: Settings) -> Iterator[Block]:
    """The files below a root, block by block and in their order, by as many processes as there are cores."""
    base = os.path.join(root, "")
    blocks = [[base + path for path in paths[start : start + BLOCK]] for start in range(0, len(paths), BLOCK)]
    workers = [Worker() for _ in range(min(len(os.sched_getaffinity(0)), len(blocks)))]
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)
    is_over = threading.Event()

    def work(block: Sequence[str]) -> list[Block]:
        worker = idle.get()
        try:
            return _decode_surely(worker, block, settings, is_over)
        finally:
            idle.put(worker)

    executor = ThreadPoolExecutor(len(workers), thread_name_prefix="decoding")
    try:
        for decoded in in_order(executor, work, blocks, AHEAD * len(workers)):
            yield from decoded
    finally:
        is_over.set()
        for worker in workers:
            worker.kill()
        executor.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


def _decode_surely(worker: Worker, paths: Sequence[str], settings: Settings, is_over: threading.Event) -> list[Block]:
    """One block, or one for each of the files where one of them crashes the decoder."""
    try:
        return [worker.decode(paths, settings)]
    except EOFError:
        if is_over.is_set():
            raise
    if len(paths) == 1:
        none = np.empty((0, settings.size, settings.size, settings.channels or 1), np.uint8)
        return [Block(none, [], {0: "it crashes the decoder"})]
    return [block for path in paths for block in _decode_surely(worker, [path], settings, is_over)]
