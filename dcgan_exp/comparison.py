"""Run folders -> rows: what differs, which rank first, which belong together, and where a ranking would be unfair.

A row has one flat set of keys: `run status iteration seconds ...`, the configuration's dotted keys, a metric's last
value under its name (`g_loss`), its best one under `best.g_loss` with its iteration `best.g_loss.at`, and the
onset of each diagnosis (`discriminator_won`).
"""

import difflib
import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcgan_exp import diagnosis, expressions
from dcgan_exp.index import Entry, common_folder, direction

LOSSES = ("d_loss", "g_loss", "best.d_loss", "best.g_loss")
TRAINING_METRICS = ("g_loss", "d_loss", "d_accuracy", "d_accuracy_real", "d_accuracy_fake")
FACTS = ("run", "status", "iteration", "seconds", "started", "ended", "reason", "host", "diagnosis", "folder")
DIAGNOSES = {name.replace(" ", "_"): name for name in diagnosis.DEFINITIONS}
SAME_IN_A_GROUP = ("name",)  # labels, which make no difference to a result


class CompareError(ValueError):
    """A comparison that can't be made as asked. Its text is one line."""


@dataclass
class Row:
    """One run, or a group of runs that differ in the seed only."""

    values: dict[str, Any]
    entries: list[Entry]
    spread: dict[str, float] = field(default_factory=dict)  # standard deviation of a group's metrics
    counts: dict[str, int] = field(default_factory=dict)  # runs of a group that have a finite value

    @property
    def label(self) -> str:
        """The run's folder below what all have in common."""
        return str(self.values["run"])

    def get(self, key: str) -> Any:
        """The value of a key; null where the row has none."""
        return self.values.get(key)


def build(entries: Sequence[Entry]) -> list[Row]:
    """A row for each run."""
    if not entries:
        return []
    common = common_folder(entry.folder for entry in entries)
    return [Row(_values(entry, os.path.relpath(os.path.abspath(entry.folder), common)), [entry]) for entry in entries]


def _values(entry: Entry, label: str) -> dict[str, Any]:
    record = entry.record
    values: dict[str, Any] = {
        **entry.config,
        "run": label,
        "status": entry.run.status,
        "folder": str(entry.folder),
        **{name: record.get(name) for name in ("iteration", "seconds", "started", "ended", "reason", "host")},
        **entry.final,
    }
    for metric, (value, iteration) in entry.best.items():
        values[f"best.{metric}"] = value
        values[f"best.{metric}.at"] = iteration
    set_diagnosis(values, entry.diagnosis)
    return values


def set_diagnosis(values: dict[str, Any], found: dict[str, int]) -> None:
    """Put a diagnosis into a row's values."""
    values["diagnosis"] = ", ".join(f"{name} @{onset}" for name, onset in found.items()) or None
    for key, name in DIAGNOSES.items():
        values[key] = found.get(name)


def diagnose_grids(rows: Sequence[Row]) -> None:
    """Add what only the grids tell; it takes two pictures a run, so it is done for the rows that are shown."""
    for row in rows:
        found: dict[str, int] = {}
        for entry in row.entries:
            entry.diagnosis.update(diagnosis.of_grids(entry.run.samples()))
            for name, onset in entry.diagnosis.items():
                found[name] = min(onset, found.get(name, onset))
        set_diagnosis(row.values, found)


# Keys --------------------------------------------------------------------------------------------


def config_keys(rows: Sequence[Row]) -> list[str]:
    """Every key of the configurations, in the order in which they first appear."""
    return _all_keys(entry.config for row in rows for entry in row.entries)


def _all_keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    found: dict[str, Any] = {}
    for mapping in mappings:
        found.update(mapping)
    return list(found)


def hashable(value: Any) -> Hashable:
    """A stand-in for a value: equal for equal values."""
    return value if isinstance(value, Hashable) else json.dumps(value, sort_keys=True)


def differing_keys(rows: Sequence[Row]) -> list[str]:
    """The configuration's keys that have two values at least; a missing key counts as null."""
    entries = [entry for row in rows for entry in row.entries]
    if not entries:
        return []
    first = entries[0].config
    others = [entry.config for entry in entries[1:]]
    same = {key for key, value in first.items() if all(config.get(key) == value for config in others[:20])}
    for config in others:
        same -= {key for key in same if config.get(key) != first[key]}
    return [key for key in config_keys(rows) if key not in same and not _always_null(key, entries)]


def _always_null(key: str, entries: Sequence[Entry]) -> bool:
    return all(entry.config.get(key) is None for entry in entries)


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The metrics that any run has: quality first, then losses and accuracies."""
    found = _all_keys(values for row in rows for entry in row.entries for values in (entry.final, entry.best))
    return [name for name in found if name not in TRAINING_METRICS] + [
        name for name in TRAINING_METRICS if name in found
    ]


def known_keys(rows: Sequence[Row]) -> list[str]:
    """Every key that any row has."""
    return _all_keys(row.values for row in rows)


def default_columns(rows: Sequence[Row], all_keys: bool = False) -> list[str]:
    """What a table shows: what differs, how far the runs are, their final and best metrics, what went wrong."""
    known = set(known_keys(rows))  # a group has no value of the keys in which its members differ
    keys = [key for key in (config_keys(rows) if all_keys else differing_keys(rows)) if key in known]
    names = metric_names(rows)
    names = names if all_keys else [name for name in names if name not in ("d_accuracy_real", "d_accuracy_fake")]
    metrics = [column for name in names for column in (name, f"best.{name}") if column == name or direction(name)]
    group = ["n"] if any("n" in row.values for row in rows) else []
    return ["run", *keys, *group, "status", "iteration", "seconds", *metrics, "diagnosis"]


def check_keys(keys: Sequence[str], rows: Sequence[Row]) -> None:
    """Raises CompareError where no row has one of the keys."""
    known = known_keys(rows)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise CompareError(f"no run has the key {key}" + (f"; did you mean {near[0]}?" if near else ""))


# Choosing and ranking ----------------------------------------------------------------------------


def where(rows: Sequence[Row], expression: str) -> list[Row]:
    """The rows for which an expression holds. Raises CompareError."""
    try:
        test = expressions.parse(expression, dict.fromkeys(known_keys(rows)))
    except expressions.ExpressionError as error:
        raise CompareError(f"--where: {error}") from error
    return [row for row in rows if test(row.get)]


def ranked(rows: Sequence[Row], key: str, largest_first: bool | None = None) -> list[Row]:
    """The rows by a key, better first, or smaller first where the key has no better direction; without a value last.

    Raises CompareError where the losses of different loss functions would be ranked against each other.
    """
    check_keys([key], rows)
    kinds = sorted({str(row.get("loss.name")) for row in rows})
    if key in LOSSES and len(kinds) > 1:
        raise CompareError(
            f"{key} can't rank runs with different loss functions ({', '.join(kinds)}): the numbers mean "
            f"different things; choose one with --where 'loss.name=={kinds[0]}', or rank by a quality metric"
        )
    if largest_first is None:
        largest_first = direction(key) > 0 and not key.endswith(".at")
    present = [row for row in rows if is_present(row.get(key))]
    missing = [row for row in rows if not is_present(row.get(key))]
    return sorted(present, key=lambda row: _order(row.get(key)), reverse=largest_first) + missing


def is_present(value: Any) -> bool:
    """Neither null nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, "" if number else str(value))


# Groups ------------------------------------------------------------------------------------------


def grouped(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """One row for runs whose configurations and data differ in `keys` only: mean and standard deviation of metrics."""
    check_keys(keys, rows)
    return [_group(members, {*keys, *SAME_IN_A_GROUP}) for members in alike(rows, keys)]


def alike(rows: Sequence[Row], keys: Sequence[str]) -> list[list[Row]]:
    """The rows in groups whose configurations and data differ in `keys` only."""
    ignored = {*keys, *SAME_IN_A_GROUP}
    decisive = [key for key in differing_keys(rows) if key not in ignored]
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        entry = row.entries[0]
        facts = tuple(hashable(entry.config.get(key)) for key in decisive)
        groups.setdefault((facts, fingerprint(entry)), []).append(row)
    return list(groups.values())


def seed_groups(rows: Sequence[Row]) -> list[Row]:
    """The groups of at least two runs that differ in the seed only."""
    if not any("seed" in row.values for row in rows):
        return []
    return [row for row in grouped(rows, ["seed"]) if row.get("n") > 1]


def _group(members: Sequence[Row], ignored: set[str]) -> Row:
    first, entries = members[0], [entry for row in members for entry in row.entries]
    values = {
        key: value for key, value in first.values.items() if key in first.entries[0].config and key not in ignored
    }
    row = Row({"run": _group_label(members), **values}, entries)
    statuses = Counter(str(member.get("status")) for member in members)
    row.values["status"] = ", ".join(
        f"{count} {status}" if len(members) > 1 else status for status, count in statuses.items()
    )
    row.values["n"] = len(members)
    if len(members) == 1:
        row.values |= {key: value for key, value in first.values.items() if key not in ignored}
        return row
    for key in ("iteration", "seconds", *metric_keys(members)):
        numbers = [member.get(key) for member in members if isinstance(member.get(key), int | float)]
        finite = [float(number) for number in numbers if math.isfinite(number)]
        row.counts[key] = len(finite)
        if finite:
            row.values[key] = numbers[0] if len(set(numbers)) == 1 else statistics.fmean(finite)
        if len(finite) > 1:
            row.spread[key] = statistics.stdev(finite)
    found: dict[str, int] = {}
    for name, onset in ((name, onset) for entry in entries for name, onset in entry.diagnosis.items()):
        found[name] = min(onset, found.get(name, onset))
    set_diagnosis(row.values, found)
    return row


def _group_label(members: Sequence[Row]) -> str:
    return members[0].label + (f" +{len(members) - 1}" if len(members) > 1 else "")


def metric_keys(rows: Sequence[Row]) -> list[str]:
    """The keys of metrics that any row has: last value, best one, iteration of the best one."""
    names = metric_names(rows)
    return [
        key
        for name in names
        for key in (name, f"best.{name}", f"best.{name}.at")
        if any(key in row.values for row in rows)
    ]


def fingerprint(entry: Entry) -> str | None:
    """What names the data of a run, whatever they are called."""
    data = entry.record.get("data")
    return str(data["fingerprint"]) if isinstance(data, dict) and data.get("fingerprint") else None


# Two runs ----------------------------------------------------------------------------------------


def differences(first: Entry, second: Entry) -> list[tuple[str, str, Any, Any]]:
    """(section, key, value of the first run, of the second) where they differ: config, versions, data and metrics."""

    def section(name: str, left: Any, right: Any) -> list[tuple[str, str, Any, Any]]:
        left, right = (side if isinstance(side, dict) else {} for side in (left, right))
        keys = dict.fromkeys([*left, *right])
        return [(name, key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]

    def best(entry: Entry) -> dict[str, str]:
        return {name: f"{value:.6g} @{iteration}" for name, (value, iteration) in entry.best.items()}

    def progress(entry: Entry) -> dict[str, Any]:
        facts = {key: entry.record.get(key) for key in ("iteration", "seconds", "threads", "host", "git_commit")}
        return {"status": entry.run.status, **facts, **entry.diagnosis}

    return [
        *section("config", first.config, second.config),
        *section("run", progress(first), progress(second)),
        *section("versions", first.record.get("versions"), second.record.get("versions")),
        *section("data", first.record.get("data"), second.record.get("data")),
        *section("parameters", first.record.get("parameters"), second.record.get("parameters")),
        *section("final", first.final, second.final),
        *section("best", best(first), best(second)),
    ]
