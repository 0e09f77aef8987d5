"""The verbs that make pictures of a run: sample, interpolate, animate, nearest."""

import argparse
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan_exp import generator_files, runs
from dcgan_exp.verb_options import (
    DONE,
    add_output,
    add_run,
    check_free,
    check_output,
    dataset_of,
    generator_of,
    seed_option,
    tracked,
    whole_number,
    working,
    wrote,
)

if TYPE_CHECKING:
    from dcgan_exp.images import Pixels

MOST_IMAGES = 1_000_000
MOST_STEPS = 1000


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
        check_free(path, options.force or (path.is_dir() and not any(path.iterdir())))
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
    """The images appear when all are made, in the place of the numbered ones that were there."""
    from dcgan_exp import images

    target = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    target.mkdir()
    digits, number = max(len(str(shape[0] - 1)), 4), 0
    try:
        for part in parts:
            for image in part:
                picture = image[..., 0] if shape[3] == 1 else image
                (target / f"{number:0{digits}d}.png").write_bytes(images.encode_png(picture))
                number += 1
        if not path.exists():
            target.rename(path)
            return
        for old in _numbered(path):
            old.unlink()
        for made in sorted(target.iterdir()):
            made.rename(path / made.name)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _numbered(folder: Path) -> Iterator[Path]:
    """The images of an earlier command: numbered from 0 on, without a gap."""
    for digits in range(4, len(str(MOST_IMAGES))):
        for number in itertools.count():
            path = folder / f"{number:0{digits}d}.png"
            if not path.exists():
                break
            yield path


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
    from dcgan_exp.images import GAP, MOST_PIXELS

    height, width, _ = generator.image_shape
    fit = MOST_PIXELS // ((height + GAP) * (width + GAP) * options.count)
    if options.steps > fit:
        raise runs.RunError(f"--steps {options.steps}: with --count {options.count} a walk has {fit:,} at most")
    first, last = (generator.latents(options.count, seed) for seed in (options.from_seed, options.to_seed))
    latents = sampling.spherical(first, last, options.steps)
    with working(options, "drawing"):
        drawn = generator.pixels(latents.reshape(-1, generator.latent_dim))
    images = drawn.reshape(options.steps, options.count, *generator.image_shape)
    encode = animations.walk_gif if path.suffix.lower() == ".gif" else animations.walk_png
    with working(options, "writing"):
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
    run = runs.read(options.run)
    generator_files.candidates(run, options.checkpoint, options.raw)
    with working(options, "reading the training images"):
        dataset = dataset_of(run)
    generator = generator_of(options)
    from dcgan_exp import neighbours

    samples = generator.sample(options.count, options.seed)
    with working(options, "searching"):
        found = neighbours.search(samples, dataset.images)
    runs.write_whole(path, neighbours.picture(samples, dataset.images, dataset.labels, found))
    wrote(options, path, found.summary())
    return DONE
