"""What a person at the terminal sees of a running experiment. Plain lines where the output is no terminal."""

import contextlib
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
error_console = Console(highlight=False, soft_wrap=True, stderr=True)


def printable(text: str) -> str:
    """Text with control, formatting and undecodable characters shown as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character
        if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029"
        else ascii(character)[1:-1]
        for character in text
    )


def say(text: str, style: str = "") -> None:
    """One line. Nothing in it is taken for markup."""
    console.print(Text(text, style=style))


def warn(text: str) -> None:
    """A line that stands out, on the error stream."""
    error_console.print(Text(f"WARNING: {text}", style="bold yellow"))


def fail(text: str) -> None:
    """The one line that an error is told in, on the error stream."""
    error_console.print(Text(text, style="bold red"))


@contextlib.contextmanager
def native_noise_silenced() -> Iterator[None]:
    """For `import tensorflow`, which writes of its build and of absent GPUs past every log level. Exceptions pass."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with os.fdopen(os.dup(kept), "w") as terminal, _told_on(terminal):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _told_on(file: IO[str]) -> Iterator[None]:
    """What this module says to a terminal goes to another file: what turns there goes on turning."""
    if not error_console.is_terminal:
        yield
        return
    own, error_console.file = error_console.file, file
    try:
        yield
    finally:
        error_console.file = own


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; it gives a function to be called with how much is done."""
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, expand=True, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


class TrainingProgress:
    """A bar with speed, losses and accuracy, and the listing's line at each sample interval."""

    def __init__(self, total: int, batch_size: int, done: int = 0) -> None:
        self.batch_size = batch_size
        self.first, self.started = done, time.perf_counter()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(),
            TextColumn("{task.fields[measures]}"),
            console=console, disable=not console.is_terminal, speed_estimate_period=60, expand=True,
        )  # fmt: skip
        self._task = self._bar.add_task("training", total=total, completed=done, speed="", measures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, iteration: int, measures: dict[str, float]) -> None:
        """The state after an iteration."""
        speed = (iteration - self.first) / max(time.perf_counter() - self.started, 1e-9)
        self._bar.update(
            self._task,
            completed=iteration,
            speed=f"{speed:.1f} it/s {speed * self.batch_size:.0f} images/s",
            measures=f"D {measures['d_loss']:.3f} G {measures['g_loss']:.3f} acc {measures['d_accuracy']:.0f}%",
        )

    def wait_for(self, text: str) -> None:
        """What the training waits for, until the next `advance`."""
        self._bar.update(self._task, measures=text)

    def report(self, iteration: int, measures: dict[str, float]) -> None:
        """The listing's line."""
        say(listing_line(iteration, measures))


def listing_line(iteration: int, measures: dict[str, float]) -> str:
    """`1000 [D loss: 0.235200, acc.: 92.58%] [G loss: 4.601653]`."""
    d_loss, accuracy, g_loss = (measures[key] for key in ("d_loss", "d_accuracy", "g_loss"))
    return f"{iteration} [D loss: {d_loss:.6f}, acc.: {accuracy:.2f}%] [G loss: {g_loss:.6f}]"


def score_line(iteration: int, scores: dict[str, float], is_best: bool) -> str:
    """`2000 [kernel distance: 0.1234, Frechet: 3.21, rarest class: 6.1 %] the best so far`."""
    kernel = scores.get("kernel_classifier_distance", scores.get("random_feature_kernel_distance"))
    told = [f"kernel distance: {kernel:.4g}"]
    if "frechet_classifier_distance" in scores:
        told += [
            f"Frechet: {scores['frechet_classifier_distance']:.2f}",
            f"rarest class: {scores['rarest_class']:.1f} %",
        ]
    return f"{iteration} [{', '.join(told)}]{' the best so far' if is_best else ''}"


def yardstick_line(facts: Mapping[str, object]) -> str:
    """`scores: 10,000 samples against 10,000 test images; feature network mnist, SHA-256 0123456789abcdef`."""
    return (
        f"scores: {facts['samples']:,} samples against {facts['reference_images']:,} {facts['reference']}; "
        f"feature network {facts['network']}, SHA-256 {str(facts['sha256'])[:16]}"
    )


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 07 s` or `8.4 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
