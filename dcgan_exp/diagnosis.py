"""What went wrong in a run, and since when, from what the run stored.

Each diagnosis holds from its onset to the run's end; a run that recovered has none. The definitions are in
`DEFINITIONS`; the onset is the first iteration of the stretch. This module never imports TensorFlow.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_exp import images

WON_ACCURACY = 99.0  # percent
LEAST_ROWS = 3  # of metrics.csv, before a stretch means anything
ALIKE = 0.02  # mean distance of two samples, where 1 is black against white
ALIKE_SHARE = 0.25  # of the first trained grid's distance
UNCHANGED = 1e-3  # relative

NOT_FINITE, WON, COLLAPSED, STALLED = "not finite", "discriminator won", "generator collapsed", "stalled"
DEFINITIONS = {
    NOT_FINITE: "a loss or weight was NaN or infinite: the run says so, or a row of its metrics does.",
    WON: f"the discriminator's accuracy is at least {WON_ACCURACY:g} % in the last {LEAST_ROWS} rows or more.",
    COLLAPSED: "the samples of the last grid are nearly alike: the root mean square difference of two of them, "
    f"averaged over all pairs, is under {ALIKE:g} of the full range, or under {ALIKE_SHARE:.0%} of what it was in "
    "the first grid after iteration 0.",
    STALLED: f"both losses stay within {UNCHANGED:.1%} of their last value in the last {LEAST_ROWS} rows or more.",
}

Columns = Mapping[str, Sequence[float | None]]


def of_metrics(record: Mapping[str, Any], metrics: Columns) -> dict[str, int]:
    """Diagnosis -> iteration of onset, from run.json and metrics.csv."""
    iterations = [int(value or 0) if abs(value or 0) < 2**53 else 0 for value in metrics.get("iteration", ())]
    found = {
        NOT_FINITE: _first_not_finite(record, metrics, iterations),
        WON: _trailing(metrics.get("d_accuracy", ()), iterations, lambda value: value >= WON_ACCURACY),
        STALLED: _stalled(metrics, iterations),
    }
    return {name: onset for name, onset in found.items() if onset is not None}


def of_grids(grids: Mapping[int, Path]) -> dict[str, int]:
    """Diagnosis -> iteration of onset, from the stored grids. Reads two of them where nothing is wrong.

    Grids that can't be read are passed over.
    """
    trained = [iteration for iteration in sorted(grids) if iteration > 0]
    if not trained:
        return {}
    first = _diversity(grids[trained[0]])
    limit = max(ALIKE, ALIKE_SHARE * first if first is not None else 0.0)
    onset = None
    for iteration in reversed(trained):
        diversity = _diversity(grids[iteration])
        if diversity is not None and diversity >= limit:
            break
        onset = iteration if diversity is not None else onset
    return {} if onset is None else {COLLAPSED: onset}


def diversity(samples: images.Pixels) -> float:
    """Mean over all pairs of uint8 images (n, h, w, c) of their root mean square difference; 0 alike to 1."""
    flat = samples.reshape(len(samples), -1).astype(np.float32) / 255
    if len(flat) < 2:
        return 1.0
    squares = (flat**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0) / flat.shape[1]
    return float(np.sqrt(distances[np.triu_indices(len(flat), 1)]).mean())


def _diversity(path: Path) -> float | None:
    try:
        return diversity(images.read_grid(path))
    except ValueError:
        return None


def _first_not_finite(record: Mapping[str, Any], metrics: Columns, iterations: Sequence[int]) -> int | None:
    for row, iteration in enumerate(iterations):
        if any(
            value is not None and not math.isfinite(value) for value in (column[row] for column in metrics.values())
        ):
            return iteration
    if record.get("status") == "failed" and "not finite" in str(record.get("reason")):
        return record["iteration"] if isinstance(record.get("iteration"), int) else 0
    return None


def _trailing(values: Sequence[float | None], iterations: Sequence[int], holds: Callable[[float], bool]) -> int | None:
    """Where the last stretch of rows for which it holds begins; null where that is too short."""
    length = 0
    for value in reversed(values):
        if value is None or not holds(value):
            break
        length += 1
    return iterations[-length] if length >= LEAST_ROWS else None


def _stalled(metrics: Columns, iterations: Sequence[int]) -> int | None:
    onsets = []
    for name in ("d_loss", "g_loss"):
        column = metrics.get(name, ())
        last = column[-1] if column else None
        if last is None or not math.isfinite(last):
            return None
        onset = _trailing(column, iterations, functools.partial(math.isclose, last, rel_tol=UNCHANGED))
        if onset is None:
            return None
        onsets.append(onset)
    return max(onsets)
