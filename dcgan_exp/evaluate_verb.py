"""The verb that scores a run's generators again: the last, the best or that of each checkpoint."""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from dcgan_exp import console, generator_files, runs
from dcgan_exp.verb_options import DONE, add_run, check_output, dataset_of, tell, whole_number, working


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    add_run(parser, checkpoints="N|best|last|all")
    parser.add_argument(
        "-n", "--count", type=whole_number(100, 1_000_000), metavar="N", help="samples; default the run's eval_samples"
    )
    parser.add_argument("-o", "--output", metavar="PATH", help="the scores as a file (.json) too")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


def evaluate(options: argparse.Namespace) -> int:
    """Score generators with this project's yardstick, on the latents that the run's own scores come from."""
    path = check_output(options.output, (".json",), options.force) if options.output else None
    run = runs.read(options.run)
    chosen = list(_checkpoints(run)) or [None] if options.checkpoint == "all" else [options.checkpoint]
    for checkpoint in chosen:
        generator_files.candidates(run, checkpoint, options.raw)  # is it there? Before TensorFlow's seconds
    dataset = dataset_of(run)
    with working(options, "loading TensorFlow"), console.native_noise_silenced():
        from dcgan_exp import evaluation, quality, sampling
        from dcgan_exp.config import from_mapping

    config = from_mapping(run.config())
    found: list[dict[str, Any]] = []
    generators = []
    for checkpoint in chosen:
        try:
            generators.append(sampling.load_generator(run, checkpoint, options.raw))
        except runs.RunError as error:  # of several, the run may have removed the oldest by now
            if options.checkpoint != "all":
                raise
            console.warn(str(error))
    if not generators:
        raise runs.RunError(f"{options.run} holds none of its generators any more")
    with working(options, "measuring the real images") as note:
        yardstick = quality.Yardstick(dataset, note=note)
    if yardstick.facts["warning"]:
        console.warn(yardstick.facts["warning"])
    count = options.count or config.eval_samples
    for generator in generators:
        with working(options, f"scoring {generator.source}"):
            scores = evaluation.score_generator(config, generator.pixels, yardstick, count)
        found.append({"generator": generator.source, **scores})
    facts = evaluation.conditions(yardstick, config, count)
    if not options.quiet:
        _show(found, facts)
    if path is not None:
        runs.write_whole(path, json.dumps({"yardstick": facts, "scores": found}, indent=2).encode())
        tell(options, f"wrote {path}")
    return DONE


def _checkpoints(run: runs.Run) -> Iterator[str | None]:
    """Each checkpoint in order, the best and what the run ended with."""
    yield from (str(int(path.stem)) for path in reversed(runs.checkpoint_paths(run.folder)))
    if runs.network_path(run.folder, "generator_best").exists():
        yield "best"
    if run.status == "finished":
        yield None


def _show(found: list[dict[str, Any]], facts: dict[str, object]) -> None:
    """The scores as a table, the generators side by side; and what they depend on."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    if len(found) == 1:  # few and long: names down the side
        table.add_column("score")
        table.add_column(console.printable(str(found[0]["generator"])), justify="right")
        for name, value in found[0].items():
            if name != "generator":
                table.add_row(name, _number(value))
    else:
        for name in found[0]:
            is_name = name == "generator"
            table.add_column(name.replace("_", " "), justify="left" if is_name else "right", no_wrap=is_name)
        for scores in found:
            table.add_row(*(console.printable(v) if isinstance(v, str) else _number(v) for v in scores.values()))
    if not console.console.is_terminal:
        console.console.width = 10_000  # a pipe has no edge at which a row would have to break
    console.console.print(table)
    console.say(console.yardstick_line(facts))


def _number(value: object) -> str:
    return f"{value:.5g}"
