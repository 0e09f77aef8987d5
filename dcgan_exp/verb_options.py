"""What the verbs that use a run have in common: options, checks before anything is computed, lines and bars."""

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan_exp import console, generator_files, runs

if TYPE_CHECKING:
    from dcgan_exp.data import Dataset
    from dcgan_exp.images import Pixels
    from dcgan_exp.sampling import Generator

DONE = 0


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """An argument's type, with its limits in the message."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{text[:20]} can't be used; a whole number, {least} to {most:,}, is needed"
            )
        return number

    return convert


def add_run(parser: argparse.ArgumentParser, generator: bool = True, checkpoints: str = "N|best|last") -> None:
    """RUN, and which of its generators."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    if generator:
        parser.add_argument(
            "--checkpoint",
            metavar=checkpoints,
            help="an iteration's; default: what the run ended with, or the newest",
        )
        parser.add_argument("--raw", action="store_true", help="the plain weights where the run kept averaged ones too")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but what was asked for, and errors")


def add_output(parser: argparse.ArgumentParser, default: str, text: str) -> None:
    """--output and --force."""
    parser.add_argument("-o", "--output", default=default, metavar="PATH", help=f"{text}; default {default}")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


def seed_option(parser: argparse.ArgumentParser, name: str = "--seed", default: int = 1) -> None:
    """A seed of latents."""
    parser.add_argument(name, type=whole_number(0, 2**31 - 1), default=default, metavar="S", help=f"default {default}")


def check_output(output: str, suffixes: Sequence[str], force: bool) -> Path:
    """The path to write. Raises RunError where it can't be, before anything is computed."""
    path = Path(output)
    if path.suffix.lower() not in suffixes:
        raise runs.RunError(f"--output {output}: choose a name that ends in {' or '.join(suffixes)}")
    check_free(path, force)
    if path.is_dir():
        raise runs.RunError(f"{path} is a folder; choose a file's name")
    return path


def check_free(path: Path, force: bool) -> None:
    """Raises RunError where a path is taken, lies in a run folder or has no folder to lie in."""
    check_place(path)
    if (path.exists() or path.is_symlink()) and not force:
        raise runs.RunError(f"{path} exists already; --force overwrites it")


def check_place(path: Path) -> None:
    """Raises RunError where a path lies in a run folder, by way of links too, or has no folder to lie in."""
    for folder in [path.absolute(), *path.absolute().parents, *(path.absolute().parent / "x").resolve().parents]:
        if (folder / runs.RECORD).exists():
            raise runs.RunError(
                f"{path} lies in the run folder {folder}, where nothing is changed; choose another place"
            )
    if not path.absolute().parent.is_dir():
        raise runs.RunError(f"{path} can't be written: there is no folder {path.absolute().parent}")


def wrote(options: argparse.Namespace, path: Path, text: str) -> None:
    """The line that tells what was made."""
    tell(options, f"wrote {path}: {text}")


def tell(options: argparse.Namespace, text: str) -> None:
    """A line, unless --quiet was given; nothing in it reaches the terminal as control characters."""
    if not options.quiet:
        console.say(console.printable(text))


@contextlib.contextmanager
def working(options: argparse.Namespace, text: str) -> Iterator[Callable[[str], object]]:
    """Something turns on a terminal while the block works. Gives a function that changes the text beside it."""
    if options.quiet or not console.error_console.is_terminal:
        yield lambda _: None
        return
    with console.error_console.status(text) as status:
        yield status.update


def tracked(options: argparse.Namespace, parts: "Iterable[Pixels]", total: int, text: str) -> "Iterator[Pixels]":
    """The parts, with a bar on a terminal that counts the images in them."""
    from rich.progress import Progress

    hidden = options.quiet or not console.error_console.is_terminal
    with Progress(console=console.error_console, disable=hidden, transient=True) as progress:
        task = progress.add_task(text, total=total)
        for part in parts:
            yield part
            progress.advance(task, len(part))


def generator_of(options: argparse.Namespace, precision: str | None = None) -> "Generator":
    """The generator that the options name. Raises RunError."""
    run = runs.read(options.run)
    generator_files.candidates(run, options.checkpoint, options.raw)  # is it there? Before TensorFlow's seconds
    with working(options, "loading TensorFlow and the generator"), console.native_noise_silenced():
        from dcgan_exp import sampling

        return sampling.load_generator(run, options.checkpoint, options.raw, precision)


def dataset_of(run: runs.Run) -> "Dataset":
    """The images that a run learnt from. Raises RunError, ConfigError."""
    from dcgan_exp import config, data

    settings, facts = config.from_mapping(run.config()).data, run.record.get("data")
    facts = facts if isinstance(facts, dict) else {}
    if facts.get("name") in data.DATASETS and facts["name"] != settings.name:  # another was taken in its place
        settings.name, settings.path = facts["name"], None
    settings.fallback = None
    dataset = data.load(settings)
    if facts.get("fingerprint") not in (None, dataset.fingerprint):
        raise runs.RunError(
            f"{dataset.source} does not hold the images that {run.folder} learnt from: the fingerprints differ"
        )
    return dataset
