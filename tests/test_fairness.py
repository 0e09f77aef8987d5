"""What would make a ranking unfair."""

from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run

from dcgan_exp import comparison, fairness, index


def warnings(first: dict[str, Any], second: dict[str, Any], folder: Path) -> list[str]:
    folders = [
        make_run(folder / name, rows=1, grid=None, **values) for name, values in (("one", first), ("two", second))
    ]
    return fairness.warnings(comparison.build([index.read_entry(folder) for folder in folders]))


@pytest.mark.parametrize(
    ("second", "title"),
    [
        ({"facts": {"data": {"fingerprint": "b" * 64}}}, "The data differ"),
        ({"sample_seed": 1}, "The sample latents differ"),
        ({"latent_dim": 7}, "The sample latents differ"),
        ({"loss__name": "hinge"}, "The loss functions differ"),
        ({"precision": "mixed_bfloat16"}, "The precision differs"),
        ({"facts": {"versions": {"tensorflow": "2.0", "keras": "3.0"}}}, "The software differs"),
    ],
)
def test_a_warning_names_what_differs_and_the_runs(tmp_path: Path, second: dict[str, Any], title: str) -> None:
    (line,) = warnings({}, second, tmp_path)
    assert line.startswith(title)
    assert "one" in line
    assert "two" in line


def test_fair_runs_have_no_warning(tmp_path: Path) -> None:
    assert warnings({}, {"seed": 4, "optimizer__learning_rate": 1e-4}, tmp_path) == []


def test_many_names_become_a_count() -> None:
    assert fairness.name_some(["a", "b"]) == "a, b"
    assert fairness.name_some([str(n) for n in range(9)]) == "0, 1, 2, 3, 4 and 4 more"
