"""The verbs that use a run: pictures from its generator, an export, and a view of the folders.

Each is a function of the parsed command line, with one that adds its options, and an entry in `ENTRIES`. None of
them writes in a run folder, so that each works on a run that is still training.
"""

import argparse
import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan_exp import console, runs

if TYPE_CHECKING:
    import numpy as np

    from dcgan_exp.images import Pixels
    from dcgan_exp.sampling import Generator

DONE = 0
MOST_IMAGES = 1_000_000
MOST_STEPS = 1000
FORMATS = ("keras", "savedmodel", "onnx", "tflite")


# What all share ----------------------------------------------------------------------------------


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


def add_run(parser: argparse.ArgumentParser, generator: bool = True) -> None:
    """RUN, and which of its generators."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    if generator:
        parser.add_argument(
            "--checkpoint",
            metavar="N|best|last",
            help="an iteration's; default: what the run ended with, or the newest",
        )
        parser.add_argument("--raw", action="store_true", help="the plain weights where the run kept averaged ones too")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


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
    for folder in [path.absolute(), *path.absolute().parents]:
        if (folder / runs.RECORD).exists():
            raise runs.RunError(
                f"{path} lies in the run folder {folder}, where nothing is changed; choose another place"
            )
    if not path.absolute().parent.is_dir():
        raise runs.RunError(f"{path} can't be written: there is no folder {path.absolute().parent}")
    if (path.exists() or path.is_symlink()) and not force:
        raise runs.RunError(f"{path} exists already; --force overwrites it")


def wrote(options: argparse.Namespace, path: Path, text: str) -> None:
    """The line that tells what was made."""
    tell(options, f"wrote {path}: {text}")


def tell(options: argparse.Namespace, text: str) -> None:
    """A line, unless --quiet was given; nothing in it reaches the terminal as control characters."""
    from dcgan_exp.tables import printable

    if not options.quiet:
        console.say(printable(text))


@contextlib.contextmanager
def working(options: argparse.Namespace, text: str) -> Iterator[None]:
    """Something turns on a terminal while the block works."""
    if options.quiet or not console.error_console.is_terminal:
        yield
        return
    with console.error_console.status(text):
        yield


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
    run = runs.read(options.run)  # before TensorFlow's seconds
    with working(options, "loading TensorFlow and the generator"), console.native_noise_silenced():
        from dcgan_exp import sampling

        return sampling.load_generator(run, options.checkpoint, options.raw, precision)


# sample ------------------------------------------------------------------------------------------


def add_sample_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sample`."""
    add_run(parser)
    parser.add_argument("-n", "--count", type=whole_number(1, MOST_IMAGES), default=64, metavar="N", help="default 64")
    seed_option(parser)
    add_output(parser, "samples.png", "a grid (.png), an array (.npy, uint8) or a folder/ of single PNGs")


def sample(options: argparse.Namespace) -> int:
    """Draw images: the same seed gives the same ones, and more of them go on where fewer ended."""
    name = options.output
    is_folder = name.endswith("/") or not Path(name).suffix or Path(name).is_dir()
    if is_folder:
        path = Path(name)
        check_free(path, options.force)
        if path.exists() and not path.is_dir():
            raise runs.RunError(f"{path} is a file, not a folder")
    else:
        path = check_output(name, (".png", ".npy"), options.force)
    generator = generator_of(options)
    _check_room(path, is_folder, options.count, generator.image_shape)
    parts = tracked(options, generator.batches(options.count, options.seed), options.count, "drawing")
    write = _write_folder if is_folder else _write_array if path.suffix.lower() == ".npy" else _write_grid
    write(path, parts, (options.count, *generator.image_shape))
    height, width, _ = generator.image_shape
    wrote(
        options, path, f"{options.count:,} images of {width} x {height} pixels, seed {options.seed}, {generator.source}"
    )
    return DONE


def _check_room(path: Path, is_folder: bool, count: int, shape: tuple[int, int, int]) -> None:
    from dcgan_exp.images import GAP, MOST_PIXELS

    fit = MOST_PIXELS // ((shape[0] + GAP) * (shape[1] + GAP))
    if not is_folder and path.suffix.lower() == ".png" and count > fit:
        raise runs.RunError(
            f"--count {count}: a grid holds {fit:,} such images; take a name that ends in .npy, or a folder/"
        )
    needed = count * (4096 if is_folder else shape[0] * shape[1] * shape[2])
    free = shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        raise runs.RunError(f"--count {count}: about {needed:,} bytes are needed and {free:,} are free")


def _write_grid(path: Path, parts: "Iterable[Pixels]", _shape: tuple[int, ...]) -> None:
    import numpy as np

    from dcgan_exp import images

    runs.write_whole(path, images.grid_png(np.concatenate(list(parts))))


def _write_array(path: Path, parts: "Iterable[Pixels]", shape: tuple[int, ...]) -> None:
    """Part by part, so that a million images need no more memory than a hundred."""
    import numpy as np

    with runs.whole_file(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.tobytes())


def _write_folder(path: Path, parts: "Iterable[Pixels]", shape: tuple[int, ...]) -> None:
    """A new folder appears when it is complete; into one that is there the images go one by one."""
    from dcgan_exp import images

    target = path if path.exists() else path.with_name(f".{path.name}.tmp")
    target.mkdir(exist_ok=True)
    digits, number = max(len(str(shape[0] - 1)), 4), 0
    try:
        for part in parts:
            for image in part:
                picture = image[..., 0] if shape[3] == 1 else image
                (target / f"{number:0{digits}d}.png").write_bytes(images.encode_png(picture))
                number += 1
        if target != path:
            target.rename(path)
    except BaseException:
        if target != path:
            shutil.rmtree(target)
        raise


# interpolate, animate, nearest -------------------------------------------------------------------


def add_interpolate_options(parser: argparse.ArgumentParser) -> None:
    """The options of `interpolate`."""
    add_run(parser)
    seed_option(parser, "--from-seed", 1)
    seed_option(parser, "--to-seed", 7)
    parser.add_argument(
        "--steps",
        type=whole_number(2, MOST_STEPS),
        default=12,
        metavar="N",
        help="images on the way, both ends included; default 12",
    )
    parser.add_argument(
        "-n",
        "--count",
        type=whole_number(1, 64),
        default=1,
        metavar="N",
        help="walks side by side, between the seeds' first N samples; default 1",
    )
    add_output(parser, "walk.gif", "an animation (.gif) or all steps in a picture (.png)")


def interpolate(options: argparse.Namespace) -> int:
    """Walk along a great circle from one seed's samples to another's."""
    path = check_output(options.output, (".gif", ".png"), options.force)
    generator = generator_of(options)
    from dcgan_exp import animations, sampling

    first, last = (generator.latents(options.count, seed) for seed in (options.from_seed, options.to_seed))
    latents = sampling.spherical(first, last, options.steps)
    drawn = generator.pixels(latents.reshape(-1, generator.latent_dim))
    images = drawn.reshape(options.steps, options.count, *generator.image_shape)
    encode = animations.walk_gif if path.suffix.lower() == ".gif" else animations.walk_png
    runs.write_whole(path, encode(images))
    wrote(
        options,
        path,
        f"{options.steps} steps from seed {options.from_seed} to seed {options.to_seed}, {generator.source}",
    )
    return DONE


def add_animate_options(parser: argparse.ArgumentParser) -> None:
    """The options of `animate`."""
    add_run(parser, generator=False)
    parser.add_argument(
        "--milliseconds", type=whole_number(20, 10_000), default=200, metavar="N", help="for a grid; default 200"
    )
    add_output(parser, "training.gif", "an animation (.gif), or a film (.mp4, needs ffmpeg)")


def animate(options: argparse.Namespace) -> int:
    """Show the training: the grids one after the other, each with its iteration."""
    path = check_output(options.output, (".gif", ".mp4"), options.force)
    frames = list(runs.read(options.run).samples().items())
    if not frames:
        raise runs.RunError(f"{options.run} holds no grids yet")
    from dcgan_exp import animations, images

    try:
        with working(options, "drawing"):
            if path.suffix.lower() == ".gif":
                runs.write_whole(path, images.animation_gif(frames, options.milliseconds))
            else:
                with runs.whole_file(path) as temporary:
                    animations.write_film(images.captioned_frames(frames), temporary, 1000 / options.milliseconds)
    except (ValueError, animations.FilmError) as error:
        raise runs.RunError(str(error)) from error
    wrote(options, path, f"{len(frames)} grids, iteration {frames[0][0]} to {frames[-1][0]}")
    return DONE


def add_nearest_options(parser: argparse.ArgumentParser) -> None:
    """The options of `nearest`."""
    add_run(parser)
    parser.add_argument("-n", "--count", type=whole_number(1, 400), default=16, metavar="N", help="samples; default 16")
    seed_option(parser)
    add_output(parser, "nearest.png", "a picture (.png)")


def nearest(options: argparse.Namespace) -> int:
    """Put each sample beside the training image that is nearest to it: does the generator copy?"""
    path = check_output(options.output, (".png",), options.force)
    images, labels = training_images(runs.read(options.run))
    generator = generator_of(options)
    if images.shape[1:] != generator.image_shape:
        raise runs.RunError(
            f"the training images have the shape {images.shape[1:]}, the generated {generator.image_shape}"
        )
    from dcgan_exp import neighbours

    samples = generator.sample(options.count, options.seed)
    with working(options, "searching"):
        found = neighbours.search(samples, images)
    runs.write_whole(path, neighbours.picture(samples, images, labels, found))
    wrote(options, path, found.summary())
    return DONE


def training_images(run: runs.Run) -> "tuple[Pixels, np.ndarray[Any, Any] | None]":
    """The images and labels that a run learnt from. Raises RunError, ConfigError."""
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
    return dataset.images, dataset.labels


# info, list, clean -------------------------------------------------------------------------------


def add_info_options(parser: argparse.ArgumentParser) -> None:
    """The options of `info`."""
    add_run(parser, generator=False)
    parser.add_argument("--config", action="store_true", help="the whole configuration instead, as YAML")


def info(options: argparse.Namespace) -> int:
    """All about one run on a screen."""
    from dcgan_exp import index, overview
    from dcgan_exp.tables import printable

    if options.config:
        import yaml

        print(yaml.safe_dump(runs.read(options.run).config(), sort_keys=False), end="")
        return DONE
    for heading, text in overview.screen(index.read_entry(options.run)):
        print(f"{heading:10} {printable(text)}".rstrip())
    return DONE


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """The options of `list`."""
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[Path("outputs")], metavar="FOLDER", help="default outputs"
    )
    parser.add_argument(
        "--status", choices=("running", "finished", "failed", "interrupted", "killed"), help="only these"
    )
    parser.add_argument("--last", type=whole_number(1, 10**9), metavar="N", help="only the newest N")


def list_runs(options: argparse.Namespace) -> int:
    """A line for each run, the oldest first."""
    from dcgan_exp import overview
    from dcgan_exp.tables import printable

    entries = [entry for entry in _entries(options.folders) if options.status in (None, entry.run.status)]
    heading, *lines = overview.listing(entries)
    lines = lines[-options.last :] if options.last else lines
    print("\n".join(printable(line) for line in overview.aligned([heading, *lines])))
    return DONE


def _entries(folders: Sequence[Path]) -> list[Any]:
    from dcgan_exp import index
    from dcgan_exp.tables import printable

    entries, notes = index.read_all(folders)
    for note in notes if entries else ():
        console.warn(printable(note))
    if not entries:
        raise runs.RunError("; ".join(notes) or "no runs")
    return entries


def add_clean_options(parser: argparse.ArgumentParser) -> None:
    """The options of `clean`."""
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[Path("outputs")], metavar="FOLDER", help="default outputs"
    )
    parser.add_argument("--yes", action="store_true", help="delete; without it nothing is, and what would be is listed")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def clean(options: argparse.Namespace) -> int:
    """List, and with --yes delete, failed runs and the checkpoints of finished ones; never a finished run's results."""
    from dcgan_exp import overview

    items = overview.waste(_entries(options.folders))
    freed = 0
    for item in items:
        if not options.yes:
            tell(options, f"would delete {item.path}  ({item.reason}, {overview.size_text(item.size)})")
        elif overview.delete(item):
            freed += item.size
            tell(options, f"deleted {item.path}  ({item.reason}, {overview.size_text(item.size)})")
        else:
            console.warn(f"{item.path} was left: its run is not what it was a moment ago")
    total = overview.size_text(sum(item.size for item in items))
    if not items:
        tell(options, "nothing to delete")
    else:
        tell(options, f"{overview.size_text(freed)} freed" if options.yes else f"{total} in all; --yes deletes it")
    return DONE


# export ------------------------------------------------------------------------------------------


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    add_run(parser)
    parser.add_argument("--format", choices=FORMATS, default="keras", help="default keras")
    add_output(parser, "export/", "the folder to make")


def export(options: argparse.Namespace) -> int:
    """Hand the generator on: a file for another program, checked there, with a model card beside it."""
    run, path = runs.read(options.run), Path(options.output)
    check_free(path, options.force)
    started = time.monotonic()
    generator = generator_of(options, precision="float32")
    from dcgan_exp import exporting

    with working(options, f"exporting and checking {options.format}"):
        difference = exporting.export(run, generator, options.format, path)
    took = console.duration(time.monotonic() - started)
    wrote(
        options,
        path,
        f"{options.format}, {generator.source}, 64 samples within {difference:.1e} of the original, {took}",
    )
    return DONE


RUN = "outputs/2026-01-31/12-00-00-a1b2c3"
# verb -> what runs it, what adds its options, a summary, examples.
ENTRIES: dict[str, tuple[Callable[..., int], Callable[..., None], str, tuple[str, ...]]] = {
    "sample": (
        sample, add_sample_options, "draw images from a run's generator: a grid, single PNGs or an array",
        (f"{RUN} --output grid.png", f"{RUN} --count 10000 --seed 1 --output samples.npy",
         f"{RUN} --checkpoint 1000 --count 100 --output digits/"),
    ),
    "interpolate": (
        interpolate, add_interpolate_options, "walk through latent space between two seeds",
        (f"{RUN} --from-seed 1 --to-seed 7 --steps 30 --output walk.gif", f"{RUN} --count 8 --output walk.png"),
    ),
    "animate": (
        animate, add_animate_options, "show the training as an animation of its grids",
        (f"{RUN} --output training.gif", f"{RUN} --milliseconds 100 --output training.mp4"),
    ),
    "nearest": (
        nearest, add_nearest_options, "see each sample beside its nearest training image: does it copy?",
        (f"{RUN} --count 16 --seed 1 --output nearest.png",),
    ),
    "info": (
        info, add_info_options, "show all about one run on a screen", (RUN, f"{RUN} --config"),
    ),
    "list": (
        list_runs, add_list_options, "list the runs below a folder, the newest last",
        ("", "outputs/sweeps --status failed", "--last 10"),
    ),
    "clean": (
        clean, add_clean_options, "list, and with --yes delete, failed runs and checkpoints of finished ones",
        ("", "outputs/2026-01-31 --yes"),
    ),
    "export": (
        export, add_export_options, "hand the generator on as Keras, SavedModel, ONNX or TFLite, with a model card",
        (f"{RUN} --format onnx --output digits-onnx", f"{RUN} --checkpoint best --format savedmodel --output digits"),
    ),
}  # fmt: skip
