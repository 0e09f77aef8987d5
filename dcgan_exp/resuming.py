"""Going on with a run: the same one, a longer one, or a copy that differs from here on.

TensorFlow is loaded only once nothing stands against it, so that a refusal does not wait for it.
"""

import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dcgan_exp import checkpoints, console, data, locks, recovery, runs, workers
from dcgan_exp.config import HARMLESS_KEYS, Config, ConfigError, flatten, from_mapping, known_keys, to_dict
from dcgan_exp.recovery import Findings

if TYPE_CHECKING:
    from dcgan_exp import training

ALREADY_FINISHED = "it is finished already; nothing was changed"


def resume(folder: Path, overrides: Sequence[str] = (), fork: Path | None = None) -> "training.Outcome":
    """Go on with a run from its newest valid checkpoint, or from the start where there is none, to its end.

    Everything after that checkpoint is removed and made again; the result equals, bit for bit, that of a run that was
    never interrupted. `overrides` (`key=value`) may raise `iterations` where the schedule is constant, and change what
    does not change a result; with `fork`, a folder that is not there yet, anything that leaves the networks' shapes,
    and the run goes on in that copy. A finished run is left alone. Each thing found damaged is told in a line.

    Raises RunError or ConfigError, with nothing changed, where it can't be: another process works in the folder, other
    data, a changed configuration, no run at all. It works in any process, a child's too.
    """
    found = recovery.examine(folder)
    config = changed_config(found.config, overrides)
    is_chief = workers.of(config.workers).is_chief
    if fork is not None and is_chief:
        copy(folder, overrides, fork)
        return resume(fork)
    if fork is None:
        check_same_result(found, config)
    if fork is None and found.is_finished and config.iterations == found.config.iterations and found.is_intact:
        _tell(found.lines)
        with console.native_noise_silenced():
            from dcgan_exp import training
        return training.Outcome("finished", ALREADY_FINISHED, found.record.get("final") or {}, _seconds(found.record))
    if not is_chief:
        with console.native_noise_silenced():
            from dcgan_exp import training
        return training.assist(config, data.load(config.data))
    return _go_on(folder, overrides)


def _go_on(folder: Path, overrides: Sequence[str]) -> "training.Outcome":
    with locks.held(folder):
        found = recovery.examine(folder)  # again, since another process may have worked in it until now
        config = changed_config(found.config, overrides)
        check_same_result(found, config)
        _refuse_elsewhere(found)
        _refuse_to_lose(found)
        dataset = data.load(config.data)
        check_data(found, dataset)
        with console.native_noise_silenced():
            from dcgan_exp import devices, training
        devices.check(config)
        _refuse_other_parts(found, config, devices.described(config))
        warnings = _warnings(found, config) if found.checkpoint else []
        place = (
            f"from iteration {found.iteration}" if found.checkpoint else "from the start: there is no valid checkpoint"
        )
        _tell([*found.lines, *warnings, *filter(None, [dataset.warning])])
        console.say(f"going on {place}: {folder}")
        recovery.cut_back(found)
        if found.is_config_damaged or to_dict(config) != to_dict(found.config):
            runs.write_config(folder, config)
        recorder = _reopen(found, config, warnings)
        with runs.logging_to(folder) as log:
            for line in [f"going on {place}", *found.lines, *warnings]:
                log.info("%s", line)
        return training.run(config, dataset, recorder, found.checkpoint)


def _reopen(found: Findings, config: Config, warnings: list[str]) -> runs.Recorder:
    metrics, grids = (found.checkpoint.metrics, found.checkpoint.grids) if found.checkpoint else (None, None)
    earlier = found.record.get("resumed")
    this = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "iteration": found.iteration,
        "ended": {key: found.record.get(key) for key in ("status", "reason", "iteration")},
        "warnings": [*found.lines, *warnings],
    }
    facts: dict[str, Any] = {"resumed": [*(earlier if isinstance(earlier, list) else []), this]}
    if found.record.get("started"):
        facts["started"] = found.record["started"]
    recorder = runs.Recorder(found.folder, {**found.record, "name": config.name}, metrics, grids)
    recorder.start(**facts, iteration=found.iteration)
    return recorder


# What stands against it --------------------------------------------------------------------------


def changed_config(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with `key=value` changes. Nothing in them is interpolated. Raises ConfigError."""
    values = to_dict(config)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or key not in known_keys():
            raise ConfigError(key, value, "resume takes key=value with a single value's key, such as iterations=40000")
        *groups, name = key.split(".")
        section = values
        for group in groups:
            section = section[group]
        try:
            section[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(key, value, "plain YAML is needed") from None
    return from_mapping(values)


def check_same_result(found: Findings, config: Config) -> None:
    """Raises RunError where going on with another configuration would give what no single run gives."""
    old, new = dict(flatten(to_dict(found.recorded_config))), dict(flatten(to_dict(config)))
    changed = [key for key in new if new[key] != old.get(key) and key not in HARMLESS_KEYS]
    fork = f"copy it and go on there: dcgan-exp resume {found.folder} ... --fork NEW_FOLDER"
    if "iterations" in changed:
        if config.iterations < found.iteration:
            raise runs.RunError(f"iterations={config.iterations}: the run has done {found.iteration} already")
        if config.schedule.name == "constant":
            changed.remove("iterations")
        elif changed == ["iterations"]:
            raise runs.RunError(
                f"iterations={config.iterations}: schedule={config.schedule.name} depends on it, so that this"
                f" would not be the longer run; {fork}"
            )
    if changed:
        told = ", ".join(f"{key}={new[key]} (was {old.get(key)})" for key in changed)
        raise runs.RunError(f"{told} would change the result; {fork}")


def _refuse_other_parts(found: Findings, config: Config, devices: str) -> None:
    """Where each device normalises its own part of a batch, their number is part of the experiment."""
    recorded = found.record.get("devices")
    if config.batch_normalization != "per_replica" or not isinstance(recorded, str):
        return
    # Into how many parts a batch is divided does not depend on what computes them.
    now, before = (text.removesuffix(" and XLA").replace("GPU", "CPU") for text in (devices, recorded))
    if now != before:
        raise runs.RunError(
            f"{devices} (was {recorded}) would change the result of batch_normalization=per_replica; copy it and go on"
            f" there: dcgan-exp resume {found.folder} ... --fork NEW_FOLDER"
        )


def _refuse_elsewhere(found: Findings) -> None:
    """The lock covers this machine, and others as far as the file system does; the heartbeat covers the rest."""
    host = found.record.get("host")
    if runs.Run(found.folder, found.record).status == "running" and host != socket.gethostname():
        raise runs.RunError(f"{found.folder} is in use by process {found.record.get('pid')} on {host}")


def _refuse_to_lose(found: Findings) -> None:
    is_complete = found.is_record_damaged and runs.network_path(found.folder, "generator").exists()
    if found.checkpoint is None and (found.is_finished or is_complete):
        raise runs.RunError(
            f"{found.folder} holds results but no valid checkpoint to go on from; start a new run instead"
        )


def check_data(found: Findings, dataset: data.Dataset) -> None:
    recorded = found.record.get("data")
    fingerprint = recorded.get("fingerprint") if isinstance(recorded, dict) else None
    if fingerprint not in (None, dataset.fingerprint):
        raise runs.RunError(
            f"the data in {dataset.source} are not those of the run: fingerprint {dataset.fingerprint[:12]}, recorded"
            f" is {str(fingerprint)[:12]}; give the right ones with data.path=..."
        )


def _warnings(found: Findings, config: Config) -> list[str]:
    """One line for each thing of this process that makes other bits than the one that wrote the checkpoint."""
    assert found.checkpoint
    return environment_differences(found.checkpoint.record, config)


def environment_differences(record: dict[str, Any], config: Config) -> list[str]:
    """Where threads, devices and versions differ from a recorded process: these change the bits of a result."""
    from dcgan_exp import devices, training

    lines, recorded, versions = [], record.get("versions"), runs.versions()
    recorded = recorded if isinstance(recorded, dict) else {}
    for name, now in (("threads", training.thread_count(config)), ("devices", devices.described(config))):
        if record.get(name) not in (None, now):
            lines.append(f"{name}: {now} now, {record[name]} before: the result will not be bit-identical")
    for name in ("tensorflow", "keras", "numpy", "dcgan-exp"):
        if recorded.get(name) not in (None, versions[name]):
            lines.append(f"{name}: {versions[name]} now, {recorded[name]} before: the result may not be bit-identical")
    return lines


# Copy --------------------------------------------------------------------------------------------


def copy(folder: Path, overrides: Sequence[str], new: Path) -> None:
    """Copy a run up to its newest valid checkpoint, with changes, into a folder that appears whole or not at all."""
    if new.exists():
        raise runs.RunError(f"{new} is there already; --fork needs a new folder")
    found = recovery.examine(folder)
    _tell(found.lines)
    if found.checkpoint is None:
        raise runs.RunError(f"{folder} holds no valid checkpoint to start from; start a new run instead")
    config = changed_config(found.config, overrides)
    if config.iterations < found.iteration:
        raise runs.RunError(f"iterations={config.iterations}: the run has done {found.iteration} already")
    old = dict(flatten(to_dict(found.recorded_config)))
    changed = {key: value for key, value in flatten(to_dict(config)) if value != old.get(key)}
    record = {
        **found.checkpoint.record, "name": config.name, "status": "interrupted", "reason": "forked",
        "forked_from": {"folder": str(folder.absolute()), "iteration": found.iteration, "changed": changed},
        "resumed": [], "started": None,
    }  # fmt: skip
    if any(key.startswith("data.") for key in changed):
        record["data"] = None
    if config.batch_normalization == "per_replica":
        record["devices"] = None  # a fork may go on with others
    new.parent.mkdir(parents=True, exist_ok=True)
    temporary = new.with_name(f".{new.name}.{os.getpid()}.tmp")
    try:
        _fill(temporary, found, config, record)
        os.rename(temporary, new)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, found: Findings, config: Config, record: dict[str, Any]) -> None:
    checkpoint = found.checkpoint
    assert checkpoint
    for place in (folder, folder / runs.SAMPLES, folder / runs.CHECKPOINTS):
        place.mkdir()
    for iteration, path in runs.Run(found.folder, {}).samples().items():
        if iteration in checkpoint.grids and path not in found.damaged:
            shutil.copyfile(path, runs.sample_path(folder, iteration))
    runs.write_config(folder, config)
    runs.write_whole(folder / runs.METRICS, checkpoint.metrics)
    forked = replace(checkpoint, config=to_dict(config), record=record, log_bytes=0)
    checkpoints.save(runs.checkpoint_path(folder, checkpoint.iteration), forked)
    runs.write_record(folder, record)


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        console.warn("".join(character if character.isprintable() else "?" for character in line))


def _seconds(record: dict[str, Any]) -> float:
    seconds = record.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0
