"""What would make a ranking of runs unfair, said with the runs' names."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from dcgan_exp.comparison import Row, fingerprint
from dcgan_exp.index import Entry

MOST_NAMES = 5  # in a warning


def _data(entry: Entry) -> str | None:
    found = fingerprint(entry)
    return found and f"{entry.config.get('data.name')} ({found[:8]})"


def _latents(entry: Entry) -> str:
    config = entry.config
    return f"sample_seed={config.get('sample_seed')} latent_dim={config.get('latent_dim')}"


def _versions(entry: Entry) -> str | None:
    versions = entry.record.get("versions")
    if not isinstance(versions, dict):
        return None
    return " ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras", "numpy") if name in versions) or None


ASPECTS: dict[str, tuple[Callable[[Entry], Any], str]] = {
    "The data differ": (_data, "no metric of one can be held against the other's"),
    "The sample latents differ": (_latents, "the same cell of two grids does not show the same latents"),
    "The loss functions differ": (
        lambda entry: entry.config.get("loss.name"),
        "their losses are never ranked together",
    ),
    "The precision differs": (lambda entry: entry.config.get("precision"), "a small difference may come from rounding"),
    "The software differs": (_versions, "a small difference may come from the versions"),
    "The quality yardsticks differ": (lambda entry: entry.record.get("yardstick"), "their scores can't be compared"),
}


def warnings(rows: Sequence[Row]) -> list[str]:
    """What makes a ranking of these rows unfair, one line for each aspect, naming the runs."""
    entries = [(row.label, entry) for row in rows for entry in row.entries]
    folders = Counter(entry.folder.name for _, entry in entries)
    found = []
    for title, (aspect, consequence) in ASPECTS.items():
        named: dict[str, list[str]] = {}
        for label, entry in entries:
            value = aspect(entry)
            if value is not None:
                name = entry.folder.name
                named.setdefault(str(value), []).append(name if folders[name] == 1 else label)
        if len(named) > 1:
            sides = "; ".join(f"{value}: {name_some(labels)}" for value, labels in named.items())
            found.append(f"{title}, so {consequence}. {sides}.")
    return found


def name_some(labels: Sequence[str]) -> str:
    """`a, b, c and 4 more`."""
    more = len(labels) - MOST_NAMES
    return ", ".join(labels[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
