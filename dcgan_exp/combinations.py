"""What `python run.py -m ...` asks for: every combination of its swept values, composed and checked before any starts.

Paired values: `zip={optimizer.learning_rate:[1e-4,2e-4],batch_size:[64,128]}` takes the first of each, then the second
of each. Each pair becomes a choice of a group that lives in Hydra's memory, so every sweeper and launcher takes it.
This module never imports TensorFlow.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dcgan_exp.config import CONF_FOLDER, Config, ConfigError, explained, from_hydra

PAIRS = "zip"
LONGEST_NAME = 80
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True)
class Combination:
    """One job: what Hydra will be given, what of it differs between jobs, and what it composes to."""

    arguments: list[str]
    changed: list[str]
    config: Config


@dataclass(frozen=True)
class Plan:
    """A sweep before it starts. A sweeper that chooses as it goes has probes instead of combinations."""

    hydra: DictConfig  # Hydra's own settings
    overrides: list[str]  # with the pairs as choices of a group
    fixed: list[str]  # the overrides that all jobs share
    pairs: dict[str, list[str]]  # `+zip=pair1` -> the overrides that it stands for
    combinations: list[Combination]
    is_known: bool  # whether these are the jobs, not only probes of what can be chosen


def plan(overrides: Sequence[str]) -> Plan:
    """Compose and check everything that the command line can lead to. Raises ConfigError for the first that is bad."""
    overrides, pairs = expand_pairs(overrides)
    with explained(overrides), initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        base = loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN, from_shell=False)
        listed = [f"{key}={value}" for key, value in (base.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create(loader).parse_overrides([*listed, *base.hydra.overrides.task])
        is_known = base.hydra.sweeper._target_ == BASIC_SWEEPER
        jobs = BasicSweeper.split_arguments(parsed, None)[0] if is_known else list(_probes(parsed))
        if not jobs:
            raise ConfigError("--multirun", " ".join(overrides), "these values make no job at all")
        fixed = list(_fixed(parsed).values())
        combinations = []
        for job in jobs:
            changed = spell_out([text for text in job if text not in fixed], pairs)
            combinations.append(Combination(job, changed, compose_job(loader, base, job)))
    return Plan(base.hydra, overrides, fixed, pairs, combinations, is_known)


def compose_job(loader: Any, base: DictConfig, arguments: list[str]) -> Config:
    """What a launcher composes for a job. Raises ConfigError."""
    with explained(arguments):
        composed = loader.load_sweep_config(base, arguments)
    OmegaConf.set_struct(composed, False)
    del composed["hydra"]
    return from_hydra(composed)


def _fixed(parsed: Sequence[Override]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for override in parsed:
        key = override.get_key_element()
        texts.pop(key, None)
        if not override.is_sweep_override():
            texts[key] = f"{key}={override.get_value_element_as_str()}"
    return texts


def _probes(parsed: Sequence[Override]) -> Iterator[list[str]]:
    """Each value of a list, and both ends of a range, once, beside the first of all others."""
    fixed = list(_fixed(parsed).values())
    values = {o.get_key_element(): _some_values(o) for o in parsed if o.is_sweep_override()}
    if not all(values.values()):
        return
    first = {key: texts[0] for key, texts in values.items()}
    yield [*fixed, *first.values()]
    for key, texts in values.items():
        for text in texts[1:]:
            yield [*fixed, *{**first, key: text}.values()]


def _some_values(override: Override) -> list[str]:
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={text}" for text in override.sweep_string_iterator()]


# Paired values -----------------------------------------------------------------------------------


def expand_pairs(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The overrides with each `zip={...}` as choices of a group; what each choice stands for. Raises ConfigError."""
    expanded: list[str] = []
    pairs: dict[str, list[str]] = {}
    groups: list[str] = []
    given = {text.partition("=")[0].lstrip("+~") for text in overrides}
    for text in overrides:
        if not text.startswith(f"{PAIRS}="):
            expanded.append(text)
            continue
        columns = _read_pairs(text)
        for key in columns.keys() & given:
            raise ConfigError(PAIRS, key, "this key is given outside of zip too")
        groups.append(f"{PAIRS}_{len(groups) + 1}" if groups else PAIRS)
        given |= columns.keys()
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        names = [f"pair{number}" for number in range(1, len(rows) + 1)]
        for name, row in zip(names, rows, strict=True):
            ConfigStore.instance().store(name=name, group=groups[-1], node=_as_node(row), package="_global_")
            pairs[f"+{groups[-1]}={name}"] = [f"{key}={_as_text(value)}" for key, value in row.items()]
        expanded.append(f"+{groups[-1]}={','.join(names)}")
    return expanded, pairs


def _read_pairs(text: str) -> dict[str, list[Any]]:
    wanted = "a mapping of two or more keys to lists of equal length is needed: zip={seed:[1,2],batch_size:[64,128]}"
    try:
        columns = OverridesParser.create().parse_overrides([text])[0].value()
    except HydraException as error:
        raise ConfigError(PAIRS, text.partition("=")[2], wanted) from error
    if not isinstance(columns, dict) or len(columns) < 2 or not all(isinstance(c, list) for c in columns.values()):
        raise ConfigError(PAIRS, text.partition("=")[2], wanted)
    lengths = {str(key): len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ConfigError(PAIRS, text.partition("=")[2], f"lists of equal length are needed, but {told}")
    return {str(key): _plain(values) for key, values in columns.items()}


def _plain(value: Any) -> Any:
    """Without Hydra's marks of quotes."""
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return getattr(value, "text", value)


def _as_node(row: dict[str, Any]) -> dict[str, Any]:
    groups = {key: value for key, value in row.items() if (CONF_FOLDER / key).is_dir()}
    node = OmegaConf.create({})
    for key, value in row.items():
        if key not in groups:
            OmegaConf.update(node, key, value)
    defaults = [{f"override /{group}": choice} for group, choice in groups.items()]
    values = OmegaConf.to_container(node)
    assert isinstance(values, dict)
    return {"defaults": [*defaults, "_self_"], **{str(key): value for key, value in values.items()}}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_as_text(element) for element in value)}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def spell_out(overrides: Sequence[str], pairs: dict[str, list[str]]) -> list[str]:
    """The overrides with each pair as what it stands for."""
    return [part for text in overrides for part in pairs.get(text, [text])]


def quoted(value: str | Path) -> str:
    """A text or path as Hydra's command line takes it, whatever it holds."""
    text = re.sub(r"(\\*)('|$)", lambda match: 2 * match[1] + (match[2] and "\\'"), str(value))
    return f"'{text}'"


# Folders -----------------------------------------------------------------------------------------


def folder_name(number: int, count: int, changed: Sequence[str]) -> str:
    """`03-learning_rate=0.0001-model=wide`: plain characters, at most 80, whatever the values hold."""
    width = max(2, len(str(count - 1))) if count else 3
    told = "-".join(_short_key(text) for text in changed)
    plain = unicodedata.normalize("NFKD", told).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9=._+-]+", "_", plain).replace("..", "_")
    name = f"{number:0{width}}-{safe}".rstrip("-_. ")
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}-{digest}"


def _short_key(text: str) -> str:
    key, _, value = text.partition("=")
    return f"{key.lstrip('+').rpartition('.')[2].rpartition('/')[2]}={value}"
