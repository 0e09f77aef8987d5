"""The processes that decode image files, as many as there are cores; a file that crashes one of them costs no other."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self, cast

import numpy as np

from dcgan_exp import decoding
from dcgan_exp.concurrency import in_order
from dcgan_exp.decoding import Block, Settings

BLOCK = 64  # files that a worker decodes at a time
AHEAD = 4  # blocks a worker that may wait for an earlier one
PACKAGE_PARENT = Path(__file__).resolve().parent.parent


class Worker:
    """A process that decodes, at the other end of a connection."""

    def __init__(self, process: subprocess.Popen[bytes], connection: BinaryIO) -> None:
        self._process = process  # that it was forked from
        self._connection = connection
        self._is_ready = False

    def decode(self, paths: Sequence[str], settings: Settings) -> Block:
        """Raises EOFError where the worker died over it, RuntimeError where it never came to life."""
        if not self._is_ready:
            if self._connection.read(1) != decoding.READY:
                self._process.kill()
                raise RuntimeError(f"a process that decodes ended with exit code {self._process.wait()}")
            self._is_ready = True
        try:
            decoding.ask(self._connection, paths, settings)
            return decoding.answer(self._connection)
        except OSError as error:
            raise EOFError from error

    def close(self) -> None:
        """Let it end."""
        with suppress(OSError):  # what could not be sent to a dead one
            self._connection.close()


class Decoders:
    """As many workers as there are cores, once they are needed; leaving its `with` block ends them."""

    def __init__(self) -> None:
        self._count = len(os.sched_getaffinity(0))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._executor = ThreadPoolExecutor(self._count, thread_name_prefix="decoding")

    def start(self) -> None:
        """Let the workers get ready beside what comes before the first files. Raises OSError."""
        if not self._processes:
            for worker in self._forked(self._count):
                self._idle.put(worker)

    def decode(self, root: Path, paths: Sequence[str], settings: Settings) -> Iterator[Block]:
        """The files below a root, block by block and in their order. Raises OSError and RuntimeError."""
        self.start()
        base = os.path.join(root, "")
        blocks = [[base + path for path in paths[start : start + BLOCK]] for start in range(0, len(paths), BLOCK)]
        ahead = AHEAD * self._count
        for decoded in in_order(self._executor, lambda block: self._decode_surely(block, settings), blocks, ahead):
            yield from decoded

    def _decode_surely(self, paths: Sequence[str], settings: Settings) -> list[Block]:
        """One block, or one for each of the files where one of them crashes the decoder."""
        worker = self._idle.get()
        try:
            return [worker.decode(paths, settings)]
        except EOFError:
            worker.close()
            if self._is_over.is_set():
                raise
            worker = self._forked(1)[0]
        finally:
            self._idle.put(worker)  # whatever state it is in: another thread may wait for one
        if len(paths) == 1:
            none = np.empty((0, settings.size, settings.size, settings.channels or 1), np.uint8)
            return [Block(none, [], {0: "it crashes the decoder"})]
        return [block for path in paths for block in self._decode_surely([path], settings)]

    def _forked(self, count: int) -> list[Worker]:
        """Workers that are forked from one process, whose start and imports take longer than many files do."""
        pairs = [socket.socketpair() for _ in range(count)]
        theirs = [there.fileno() for _, there in pairs]
        try:
            process = subprocess.Popen(  # noqa: S603  this very Python
                [sys.executable, "-P", "-m", decoding.__name__, *map(str, theirs)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=theirs,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]),
                    "OPENBLAS_NUM_THREADS": "1",  # a fork takes no threads along, and one core is a worker's share
                },
                start_new_session=True,  # Ctrl-C reaches it only through this process
            )  # fmt: skip
            self._processes.append(process)
            return [Worker(process, cast(BinaryIO, here.makefile("rwb"))) for here, _ in pairs]
        finally:
            for pair in pairs:
                for end in pair:
                    end.close()  # what makefile returned keeps its own hold

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # a thread that waits for an answer gets an EOFError
        self._executor.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()
        for process in self._processes:
            process.wait()
