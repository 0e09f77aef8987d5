"""Running a folder's experiment again from its configuration alone, and finding the first iteration that differs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dcgan_exp import checkpoints, console, data, recovery, resuming, runs, training
from dcgan_exp.config import Config


@dataclass(frozen=True)
class Reproduction:
    """How a second run compares with the first."""

    iterations: int  # compared
    first_difference: int | None  # the iteration, null where all is bit-identical
    differing: list[str] = field(default_factory=list)  # what differs there
    environment: list[str] = field(default_factory=list)  # one line for each thing that may explain it


def reproduce(folder: Path, output: Path) -> Reproduction:
    """Run the experiment of a run folder again, in `output`, which must not hold a run, and compare the two.

    Rows without the wall clock, grids, and every variable of the checkpoints that both have. A run that has not
    finished is compared up to its newest checkpoint. Raises RunError or ConfigError where it can't be run again.
    """
    found = recovery.examine(folder)
    config = _config(found)
    dataset = data.load(config.data)
    resuming.check_data(found, dataset)
    if dataset.warning:
        console.warn(dataset.warning)
    environment = [*found.lines, *resuming.environment_differences(found.record, config)]
    outcome = training.train(config, dataset, output)
    if outcome.status != "finished":
        raise runs.RunError(f"the second run ended as {outcome.status}: {outcome.reason}; it is in {output}")
    differences = sorted(_differences(folder, output, config))
    first = differences[0][0] if differences else None
    return Reproduction(config.iterations, first, [what for at, what in differences if at == first], environment)


def _config(found: recovery.Findings) -> Config:
    if found.record.get("forked_from"):
        raise runs.RunError(f"{found.folder} was forked from another run: its configuration alone can't give it")
    config = found.config
    resuming.check_same_result(found, config)
    if not found.is_finished:
        if found.checkpoint is None or found.iteration == 0:
            raise runs.RunError(f"{found.folder} holds no checkpoint to compare with")
        if config.schedule.name != "constant" and found.iteration != config.iterations:
            raise runs.RunError(f"{found.folder} has not finished; resume it first")
        config = resuming.changed_config(config, [f"iterations={found.iteration}"])
    threads = found.record.get("threads")
    return resuming.changed_config(config, [f"threads={threads}"]) if isinstance(threads, int) else config


def _differences(first: Path, second: Path, config: Config) -> Iterator[tuple[int, str]]:
    """(iteration, what) for everything within the iterations that differs, or that only the second run has."""
    rows, again = (_rows(folder, config.iterations) for folder in (first, second))
    yield from ((at, "the row") for at in rows.keys() | again.keys() if rows.get(at) != again.get(at))
    grids, redrawn = runs.Run(first, {}).samples(), runs.Run(second, {}).samples()
    for iteration, path in redrawn.items():
        if iteration not in grids or grids[iteration].read_bytes() != path.read_bytes():
            yield iteration, "the grid"
    theirs = {path.name for path in runs.checkpoint_paths(first)}
    for path in runs.checkpoint_paths(second):
        if path.name in theirs:
            yield from _state_differences(runs.checkpoint_path(first, int(path.stem)), path)


def _state_differences(first: Path, second: Path) -> Iterator[tuple[int, str]]:
    try:
        recorded = checkpoints.load(first)
    except checkpoints.DamageError:  # told already
        return
    names = checkpoints.differences(recorded.arrays, checkpoints.load(second).arrays)
    if names:
        yield recorded.iteration, f"{len(names)} variables, the first of them {names[0]}"


def _rows(folder: Path, last: int) -> dict[int, Sequence[float | None]]:
    columns = runs.Run(folder, {}).metrics()
    names = [name for name in columns if name not in ("iteration", "seconds")]
    rows = zip(columns["iteration"], zip(*(columns[name] for name in names), strict=True), strict=True)
    return {int(iteration): row for iteration, row in rows if iteration is not None and iteration <= last}
