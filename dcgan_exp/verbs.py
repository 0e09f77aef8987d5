"""The verbs that use a run, each a function of the parsed command line with one that adds its options.

None of them writes in a run folder but `clean --yes`, so that each works on a run that is still training.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from dcgan_exp import console, runs
from dcgan_exp.evaluate_verb import add_evaluate_options, evaluate
from dcgan_exp.folder_verbs import add_clean_options, add_info_options, add_list_options, clean, info, list_runs
from dcgan_exp.picture_verbs import (
    add_animate_options,
    add_interpolate_options,
    add_nearest_options,
    add_sample_options,
    animate,
    interpolate,
    nearest,
    sample,
)
from dcgan_exp.verb_options import DONE, add_output, add_run, check_free, generator_of, working, wrote

FORMATS = ("keras", "savedmodel", "onnx", "tflite")


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
    "evaluate": (
        evaluate, add_evaluate_options, "score a run's generator against real images: the last, the best or each one",
        (RUN, f"{RUN} --checkpoint best", f"{RUN} --checkpoint all --output scores.json"),
    ),
    "info": (
        info, add_info_options, "show all about one run on a screen", (RUN, f"{RUN} --config"),
    ),
    "list": (
        list_runs, add_list_options, "list the runs below a folder, the newest last",
        ("", "outputs/sweeps --status failed", "--last 10"),
    ),
    "clean": (
        clean, add_clean_options, "list, and with --yes delete, failed runs and old checkpoints of finished ones",
        ("", "outputs/2026-01-31 --yes"),
    ),
    "export": (
        export, add_export_options, "hand the generator on as Keras, SavedModel, ONNX or TFLite, with a model card",
        (f"{RUN} --format onnx --output digits-onnx", f"{RUN} --checkpoint best --format savedmodel --output digits"),
    ),
}  # fmt: skip
