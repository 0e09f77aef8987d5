"""The house: imports point one way, TensorFlow stays in its rooms, the README's map names every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dcgan_exp"
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__"))

# A module may import from the layers below its own, and from its own.
LAYERS = {
    "run": 5, "cli": 5, "verbs": 5, "picture_verbs": 5, "folder_verbs": 5, "evaluate_verb": 5, "verb_options": 5,
    "launching": 4, "training": 4, "resuming": 4, "reproducing": 4,
    "sweeps": 4, "sweep_resuming": 4, "sweep_progress": 4, "jobs": 4,
    "sampling": 4, "evaluation": 4, "saving": 4, "exporting": 4, "cards": 4, "trackers": 4, "report": 4, "api": 4,
    "devices": 3, "replicas": 2, "workers": 2,
    "gan": 3, "quality": 3, "features": 3, "comparison": 3, "plots": 3, "exports": 3, "fairness": 3, "tables": 3,
    "models": 2, "losses": 2, "regularizers": 2, "augmentation": 2, "data": 2, "checkpoints": 2, "recovery": 2,
    "locks": 2, "runs": 2, "sweep_folders": 2, "combinations": 2, "diagnosis": 2, "glances": 2, "index": 2,
    "animations": 2, "neighbours": 2, "overview": 3,
    "image_folders": 2, "decoding_processes": 2, "generator_files": 2, "array_files": 2, "downloads": 2,
    "config": 1, "user_cache": 1, "images": 1, "image_arrays": 1, "decoding": 1, "console": 1, "concurrency": 1,
    "expressions": 1,
}  # fmt: skip
WITH_TENSORFLOW = {
    "devices", "replicas",
    "gan", "models", "losses", "regularizers", "augmentation", "quality", "features", "training", "resuming",
    "reproducing", "sampling", "evaluation", "saving", "exporting",
}  # fmt: skip


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The modules of the package, and the packages, that a file imports."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dcgan_exp":
            found |= {f"dcgan_exp.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_layer_and_imports_downwards(module: str) -> None:
    assert module in LAYERS
    for name in imported(PACKAGE / f"{module}.py"):
        if name.startswith("dcgan_exp."):
            other = name.split(".")[1]
            assert LAYERS[other] <= LAYERS[module], f"{module} imports {other}"


def test_imports_have_no_circle() -> None:
    edges = {
        module: {
            name.split(".")[1] for name in imported(PACKAGE / f"{module}.py", True) if name.startswith("dcgan_exp.")
        }
        for module in MODULES
    }
    while edges:
        leaves = {module for module, needs in edges.items() if not needs & edges.keys()}
        assert leaves, f"a circle among {sorted(edges)}"
        edges = {module: needs for module, needs in edges.items() if module not in leaves}


@pytest.mark.parametrize("module", sorted(set(MODULES) - WITH_TENSORFLOW))
def test_no_tensorflow_where_it_must_not_be(module: str) -> None:
    code = f"import sys, dcgan_exp.{module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_tests_and_stands_in_the_readme(module: str) -> None:
    assert (ROOT / "tests" / f"test_{module}.py").exists()
    assert f"{module}.py" in (ROOT / "README.md").read_text()


def test_only_runs_knows_the_names_inside_a_run_folder() -> None:
    names = {"run.json", "metrics.csv", "run.log", "curves.png", "samples.gif"}
    for module in set(MODULES) - {"runs"}:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & names, module
