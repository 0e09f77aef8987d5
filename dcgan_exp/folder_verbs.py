"""The verbs that look at run folders and need no TensorFlow: info, list, clean."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan_exp import console, runs
from dcgan_exp.verb_options import DONE, add_run, tell, whole_number

if TYPE_CHECKING:
    from dcgan_exp.glances import Glance


def add_info_options(parser: argparse.ArgumentParser) -> None:
    """The options of `info`."""
    add_run(parser, generator=False)
    parser.add_argument("--config", action="store_true", help="the whole configuration instead, as YAML")


def info(options: argparse.Namespace) -> int:
    """All about one run on a screen."""
    from dcgan_exp import index, overview

    if options.config:
        import yaml

        print(yaml.safe_dump(runs.read(options.run).config(), sort_keys=False), end="")
        return DONE
    for heading, text in overview.screen(index.read_entry(options.run)):
        print(f"{heading:10} {console.printable(text)}".rstrip())
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
    parser.add_argument("-q", "--quiet", action="store_true", help="no line about folders that can't be read")


def list_runs(options: argparse.Namespace) -> int:
    """A line for each run, the oldest first."""
    from dcgan_exp import overview

    found = [glance for glance in _found(options) if options.status in (None, glance.run.status)]
    heading, *lines = overview.listing(found)
    lines = lines[-options.last :] if options.last else lines
    print("\n".join(console.printable(line) for line in overview.aligned([heading, *lines])))
    return DONE


def _found(options: argparse.Namespace) -> "list[Glance]":
    from dcgan_exp import glances

    found, notes = glances.read_all(options.folders)
    for note in notes if found and not options.quiet else ():
        console.warn(console.printable(note))
    if not found:
        raise runs.RunError("; ".join(notes) or "no runs")
    return found


def add_clean_options(parser: argparse.ArgumentParser) -> None:
    """The options of `clean`."""
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[Path("outputs")], metavar="FOLDER", help="default outputs"
    )
    parser.add_argument("--yes", action="store_true", help="delete; without it nothing is, and what would be is listed")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def clean(options: argparse.Namespace) -> int:
    """List, and with --yes delete, failed runs and old checkpoints of finished ones; never a finished run's results."""
    from dcgan_exp import overview

    items = overview.waste(_found(options))
    freed = 0
    for item in items:
        if not options.yes:
            tell(options, f"would delete {item.path}  ({item.reason}, {overview.size_text(item.size)})")
        elif overview.delete(item):
            freed += item.size
            tell(options, f"deleted {item.path}  ({item.reason}, {overview.size_text(item.size)})")
        else:
            console.warn(f"{item.path} was left: its run is in use, or not what it was a moment ago")
    total = overview.size_text(sum(item.size for item in items))
    if not items:
        tell(options, "nothing to delete")
    else:
        tell(options, f"{overview.size_text(freed)} freed" if options.yes else f"{total} in all; --yes deletes it")
    return DONE
