# PYTHON_ARGCOMPLETE_OK
"""`python -m dcgan_exp VERB ...`, also `dcgan-exp VERB ...`: what is done with run folders after training.

A verb is one function, with one that adds its options, and an entry in `VERBS`. Heavy modules are imported inside
the verb, so that --help is instant. Exit codes: 0 done, 1 the run failed or differs, 2 something asked for can't be
used, 130 interrupted.
"""

import argparse
import contextlib
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dcgan_exp import verbs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dcgan_exp.comparison import Row

DONE, DIFFERS, REFUSED, INTERRUPTED = 0, 1, 2, 130
SHOWN_ROWS = 50
WATCH_SECONDS = 2.0


@dataclass(frozen=True)
class Verb:
    """What stands behind one word of the command line."""

    run: Callable[[argparse.Namespace], int]
    add_options: Callable[[argparse.ArgumentParser], None]
    summary: str
    examples: Sequence[str]


class RefusalError(Exception):
    """Something asked for that can't be used. Its text is one line."""


class Parser(argparse.ArgumentParser):
    """argparse, with its errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit with 2."""
        self.exit(REFUSED, f"{' '.join(message.split())}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the verb that the command line names, and exit."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could come next
        complete(parser)
    chosen = parser.parse_args(arguments)
    try:
        code = VERBS[chosen.verb].run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:  # `compare | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if not _is_refusal(error):
            raise
        _complain(str(error))
        code = REFUSED
    sys.exit(code)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and exit. Without the package there is nothing to answer with."""
    with contextlib.suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(parser)


def build_parser() -> argparse.ArgumentParser:
    """The command line of all verbs."""
    parser = Parser(prog="dcgan-exp", description="What is done with run folders after training.")
    parsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        examples = "\n".join(f"  dcgan-exp {name} {example}" for example in verb.examples)
        verb.add_options(
            parsers.add_parser(
                name,
                help=verb.summary,
                description=verb.summary[0].upper() + verb.summary[1:] + ".",
                epilog=f"examples:\n{examples}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


def _is_refusal(error: Exception) -> bool:
    """Whether an error is one that a person can mend, which is told in one line."""
    if isinstance(error, RefusalError | OSError):
        return True
    from dcgan_exp.comparison import CompareError
    from dcgan_exp.config import ConfigError
    from dcgan_exp.runs import RunError

    return isinstance(error, CompareError | ConfigError | RunError)


def _complain(text: str) -> None:
    from dcgan_exp import console

    console.fail(console.printable(" ".join(text.split())))


# compare -----------------------------------------------------------------------------------------


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder with some below it"
    )
    rows = parser.add_argument_group("which runs, in which order")
    rows.add_argument("--where", metavar="EXPRESSION", help="only the runs for which it holds; see the examples")
    order = rows.add_mutually_exclusive_group()
    order.add_argument("--sort", metavar="KEY", help="better first for a metric, else smaller first")
    order.add_argument("--min", metavar="KEY", help="smallest first")
    order.add_argument("--max", metavar="KEY", help="largest first")
    rows.add_argument("--top", type=_positive, metavar="N", help="only the first N")
    rows.add_argument(
        "--group-by", metavar="KEY[,KEY]", help="one row, mean ± std and n, for the runs that differ in KEY only"
    )
    shape = parser.add_argument_group("the table")
    shape.add_argument("--columns", metavar="KEY,KEY", help="these columns only")
    shape.add_argument("--all-keys", action="store_true", help="all configuration keys, not only those that differ")
    shape.add_argument("--all", action="store_true", help=f"all rows, not only the first {SHOWN_ROWS}")
    shape.add_argument("--watch", action="store_true", help=f"redraw every {WATCH_SECONDS:g} s until Ctrl-C")
    files = parser.add_argument_group("files")
    files.add_argument("--csv", metavar="FILE", help="the rows as CSV; - is the terminal, instead of the table")
    files.add_argument("--json", metavar="FILE", help="the rows as JSON; - is the terminal, instead of the table")
    files.add_argument("--plots", type=Path, metavar="DIR", help="curves, swept keys and a sample matrix as PNG")
    files.add_argument("--html", type=Path, metavar="FILE", help="everything as one page that needs no network")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number


def compare(options: argparse.Namespace) -> int:
    """Compare runs: a table, and the files asked for."""
    from dcgan_exp import console
    from dcgan_exp.verb_options import check_place

    targets = [Path(name) for name in (options.csv, options.json) if name and name != "-"]
    for target in [*targets, *filter(None, (options.plots, options.html))]:
        check_place(target)
    if options.csv == options.json == "-":
        raise RefusalError("--csv - and --json - can't share the terminal")
    if options.watch:
        return _watch(options)
    gc.disable()  # nothing here is garbage, and looking through it again and again takes half the time
    try:
        rows, left_out = _chosen_rows(options)
        for line in left_out:
            _note(line)
        _write_files(options, rows, left_out)
        if "-" not in (options.csv, options.json):
            for part in _render(options, rows):
                console.console.print(part, soft_wrap=False)
    finally:
        gc.enable()
    return DONE


def _note(line: str) -> None:
    """One line about what was left out or is unfair, on the error stream."""
    from dcgan_exp import console

    console.warn(console.printable(line))


def _chosen_rows(options: argparse.Namespace) -> "tuple[list[Row], list[str]]":
    """The rows in their order, and a line for each thing left out or unfair."""
    from dcgan_exp import comparison, expressions, fairness, index

    entries, notes = index.read_all(options.paths)
    if not entries:
        raise RefusalError("; ".join(notes) or "no runs to compare")
    rows = comparison.build(entries)
    order = options.sort or options.min or options.max
    wanted = expressions.names(options.where or "") | {order}
    if wanted & {"diagnosis", "generator_collapsed"}:
        comparison.diagnose_grids(rows)
    if options.where:
        rows = comparison.where(rows, options.where)
    notes += fairness.warnings(rows)
    if options.group_by:
        rows = comparison.grouped(rows, options.group_by.split(","))
    if order:
        rows = comparison.ranked(
            rows, order, {options.min: False, options.max: True}.get(order) if not options.sort else None
        )
    return rows[: options.top], notes


def _write_files(options: argparse.Namespace, rows: "list[Row]", left_out: list[str]) -> None:
    from dcgan_exp import comparison, console, exports

    if options.csv or options.json or options.html:
        comparison.diagnose_grids(rows)
    columns = options.columns.split(",") if options.columns else exports.export_columns(rows)
    if options.columns:
        comparison.check_keys(columns, rows)
    if options.csv:
        _deliver(options.csv, exports.to_csv(rows, columns))
    if options.json:
        _deliver(options.json, exports.to_json(rows, columns, left_out))
    if options.plots:
        from dcgan_exp import plots

        for line in plots.write(rows, options.plots):
            console.error_console.print(line, markup=False)
    if options.html:
        from dcgan_exp import report

        for line in report.write(rows, options.html, left_out):
            console.error_console.print(line, markup=False)


def _deliver(target: str, content: bytes) -> None:
    from dcgan_exp import console, runs

    if target == "-":
        sys.stdout.buffer.write(content)
    else:
        runs.write_whole(Path(target), content)
        console.error_console.print(f"wrote {target}", markup=False)


def _render(options: argparse.Namespace, rows: "list[Row]", limit: int = SHOWN_ROWS) -> "list[RenderableType]":
    """The table of the first rows, and what it does not show."""
    from rich.text import Text

    from dcgan_exp import comparison, console, tables

    if not rows:
        return [Text("no run is left")]
    shown = rows if options.all else rows[:limit]
    comparison.diagnose_grids(shown)
    columns = options.columns.split(",") if options.columns else comparison.default_columns(rows, options.all_keys)
    comparison.check_keys(columns, rows)
    width = console.console.width if console.console.is_terminal and not options.columns else None
    table, hidden = tables.table(shown, columns, width)
    if not console.console.is_terminal:
        console.console.width = 10_000  # a pipe has no edge at which a row would have to break
    notes = []
    if len(rows) > len(shown):
        notes.append(f"{len(rows) - len(shown):,} more rows: --all shows them, --top, --where and --sort choose")
    if hidden:
        notes.append(f"no room for {', '.join(hidden)}: --columns, --csv or a wider terminal")
    groups = 0 if options.group_by else sum(len(members) > 1 for members in comparison.alike(rows, ["seed"]))
    if groups:
        count = f"{groups} groups of runs differ" if groups > 1 else "one group of runs differs"
        notes.append(f"{count} in the seed only: --group-by seed shows mean ± std")
    return [table, *(Text(note, style="dim") for note in notes)]


def _watch(options: argparse.Namespace) -> int:
    """Redraw the table until Ctrl-C."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from dcgan_exp import console

    try:
        with Live(console=console.console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                rows, left_out = _chosen_rows(options)
                room = max(console.console.height - len(left_out) - 7, 3) if console.console.is_terminal else SHOWN_ROWS
                lines = [Text(console.printable(line), style="yellow") for line in left_out]
                live.update(Group(*_render(options, rows, room), *lines), refresh=True)
                if not console.console.is_terminal:
                    console.console.print(live.renderable)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return DONE


# diff --------------------------------------------------------------------------------------------


def add_diff_options(parser: argparse.ArgumentParser) -> None:
    """The options of `diff`."""
    parser.add_argument("first", type=Path, metavar="A", help="a run folder")
    parser.add_argument("second", type=Path, metavar="B", help="another")


def diff(options: argparse.Namespace) -> int:
    """Two runs side by side, only what differs."""
    from dcgan_exp import comparison, console, fairness, index, tables

    entries = [index.read_entry(folder) for folder in (options.first, options.second)]
    rows = comparison.build(entries)
    comparison.diagnose_grids(rows)
    for line in [problem for entry in entries for problem in entry.problems] + fairness.warnings(rows):
        _note(line)
    found = comparison.differences(*entries)
    if not console.console.is_terminal:
        console.console.width = 10_000
    if found:
        console.console.print(tables.difference_table([row.label for row in rows], found), soft_wrap=False)
    else:
        console.say("nothing differs")
    return DONE


# resume ------------------------------------------------------------------------------------------


def add_resume_options(parser: argparse.ArgumentParser) -> None:
    """The options of `resume`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a run or a sweep")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE",
        help="of a run, more iterations, or with --fork any change; of a sweep, another hydra/launcher",
    )  # fmt: skip
    parser.add_argument(
        "--fork", type=Path, metavar="NEW_FOLDER", help="of a run, copy it up to its checkpoint and go on in the copy"
    )
    parser.add_argument("--failed", action="store_true", help="of a sweep, run the failed jobs again too")


def resume(options: argparse.Namespace) -> int:
    """Go on with what was interrupted."""
    from dcgan_exp import sweep_resuming

    if sweep_resuming.is_sweep(options.folder):
        return sweep_resuming.resume(options.folder, options.failed, options.overrides)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dcgan_exp import launching, resuming

    outcome = resuming.resume(options.folder, options.overrides, options.fork)
    return launching.tell(outcome, options.fork or options.folder)


# reproduce ---------------------------------------------------------------------------------------


def add_reproduce_options(parser: argparse.ArgumentParser) -> None:
    """The options of `reproduce`."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the second run goes and stays")


def reproduce(options: argparse.Namespace) -> int:
    """Run a folder's experiment again and tell whether the same bits come out."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dcgan_exp import console, recovery

    recovery.check_run(options.folder)
    with console.native_noise_silenced():
        from dcgan_exp import reproducing

    with tempfile.TemporaryDirectory(prefix="dcgan-exp-") as temporary:
        result = reproducing.reproduce(options.folder, options.output or Path(temporary) / "again")
    for line in result.environment:
        _note(line)
    if result.first_difference is None:
        console.say(f"bit-identical: {result.iterations} iterations of {options.folder}", "bold")
        return DONE
    _complain(f"iteration {result.first_difference} is the first that differs, in {', '.join(result.differing)}")
    return DIFFERS


VERBS = {
    "compare": Verb(
        compare,
        add_compare_options,
        "compare any set of runs: a table of what differs, plots, one offline page",
        (
            "outputs",
            "outputs/sweeps/2026-01-31/* --sort best.kernel_classifier_distance --top 10",
            "outputs --where 'optimizer.learning_rate<1e-3 and status==finished' --html page.html",
            "outputs --where 'loss.name in (hinge, non_saturating) and generator_collapsed==null'",
            "outputs --group-by seed --max d_accuracy --csv -",
            "outputs --columns run,seed,iteration,g_loss --watch",
        ),
    ),
    "diff": Verb(
        diff,
        add_diff_options,
        "show what differs between two runs: configuration, versions, data, metrics",
        ("outputs/2026-01-31/12-00-00-a1b2c3 outputs/2026-01-31/13-00-00-d4e5f6",),
    ),
    "reproduce": Verb(
        reproduce,
        add_reproduce_options,
        "run a folder's exact experiment again; bit-identical, or the first iteration that differs",
        ("outputs/2026-01-31/12-00-00-a1b2c3",),
    ),
    "resume": Verb(
        resume,
        add_resume_options,
        "go on with what was interrupted, killed or never started; what finished is left alone",
        (
            "outputs/2026-01-31/12-00-00-a1b2c3",
            "outputs/2026-01-31/12-00-00-a1b2c3 iterations=40000",
            "outputs/2026-01-31/12-00-00-a1b2c3 optimizer.learning_rate=1e-4 --fork outputs/slower",
            "outputs/sweeps/2026-01-31/12-00-00-a1b2c3",
            "outputs/sweeps/2026-01-31/12-00-00-a1b2c3 --failed",
        ),
    ),
}
VERBS |= {name: Verb(*entry) for name, entry in verbs.ENTRIES.items()}
