"""Rows as files for other programs: strict JSON, and CSV that a spreadsheet can't be tricked by."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from dcgan_exp import fairness
from dcgan_exp.comparison import DIAGNOSES, FACTS, Row, config_keys, metric_keys


def export_columns(rows: Sequence[Row]) -> list[str]:
    """Every column that a file holds: all facts, all configuration keys, all metrics."""
    group = [key for key in ("n",) if any(key in row.values for row in rows)]
    facts = [key for key in FACTS if any(key in row.values for row in rows)]
    return list(dict.fromkeys([*facts, *group, *DIAGNOSES, *config_keys(rows), *metric_keys(rows)]))


def plain(value: Any) -> Any:
    """A value for strict JSON: what is not finite becomes text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def records(rows: Sequence[Row], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows as flat mappings; a group's metric has `.std` and `.n` beside it."""
    found = []
    for row in rows:
        record = {}
        for key in columns:
            record[key] = plain(row.get(key))
            if key in row.counts:
                record |= {f"{key}.std": row.spread.get(key), f"{key}.n": row.counts[key]}
        found.append(record)
    return found


def to_json(rows: Sequence[Row], columns: Sequence[str], left_out: Sequence[str]) -> bytes:
    """The rows with the warnings that belong to them."""
    content = {"runs": records(rows, columns), "warnings": fairness.warnings(rows), "left_out": list(left_out)}
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def to_csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """The rows as CSV. Text that a spreadsheet would take for a formula gets a ' in front."""
    lines = records(rows, columns)
    names = list(dict.fromkeys(key for line in lines for key in line)) or list(columns)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(line.get(name)) for name in names] for line in lines])
    return file.getvalue().encode(errors="backslashreplace")


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value not in ("-inf", "+inf"):
        return "'" + value
    return value
