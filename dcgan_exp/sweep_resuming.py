"""Going on with a sweep: its record says what is left, and with which values.

This module never imports TensorFlow.
"""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dcgan_exp import combinations, console, sweeps
from dcgan_exp.config import CONF_FOLDER, Config, ConfigError, from_mapping, register_schema, to_dict
from dcgan_exp.sweep_folders import CONTINUED, RECORD, WAITING, Job, Sweep


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep, rather than a run."""
    return (folder / RECORD).exists()


def resume(folder: Path, failed: bool = False, overrides: Sequence[str] = ()) -> int:
    """Run what is missing of a sweep, continue what was interrupted or killed, and with `failed` run that again.

    Each job runs with the configuration recorded when the sweep was planned, whatever conf/ says now. What finished
    is left alone. The overrides may set the launcher: another than the sweep's, or what of it was not plain words.
    Returns the exit code. Raises RunError and ConfigError.
    """
    for text in overrides:
        if not text.lstrip("+").startswith(("hydra/launcher=", "hydra.launcher.")):
            raise ConfigError(
                *text.partition("=")[::2], "a sweep's jobs keep their values; only its launcher can change"
            )
    register_schema()
    sweeps.register_resolver()
    sweep = Sweep.open(folder.absolute())
    with sweep.only_supervisor():
        sweep.refresh()
    left = [job for job in sweep.jobs() if _is_left(job, failed)]
    for job in left:
        from_mapping(job.config)
    record = sweep.read()
    _tell_changes(sweep, record)
    if not left:
        others = [job for job in sweep.jobs() if job.status != "finished"]
        hint = "; --failed runs the failed ones again" if others and not failed else ""
        console.say(f"nothing to continue in {folder}{hint}")
        return sweeps.FAILED if others else sweeps.FINISHED
    console.say(f"continuing {len(left)} of {len(sweep.jobs())} jobs")
    return _continue(sweep, left, overrides or _recorded_launcher(record))


def _is_left(job: Job, failed: bool) -> bool:
    return job.status in (WAITING, "running", "interrupted", "killed") or (failed and job.status == "failed")


def _recorded_launcher(record: dict[str, Any]) -> list[str]:
    launcher = record["launcher"]
    settings = {key: value for key, value in launcher["settings"].items() if sweeps.is_plain(key, value)}
    return [f"hydra/launcher={launcher['choice']}", *(f"++hydra.launcher.{key}={settings[key]}" for key in settings)]


def _continue(sweep: Sweep, left: Sequence[Job], launcher: Sequence[str]) -> int:
    sweep.plan_again(left, datetime.now().astimezone().isoformat(timespec="seconds"))
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    names = ",".join(f"'../../{job.folder}'" for job in left)
    sweeper = BasicSweeperConf(params={"hydra.sweep.subdir": names})
    ConfigStore.instance().store(group="hydra/sweeper", name=CONTINUED, node=sweeper)
    overrides = [
        *launcher,
        f"hydra.sweep.dir={combinations.quoted(sweep.folder / CONTINUED / stamp)}",
        "hydra.output_subdir=null",  # what Hydra wrote beside each job when it was planned stays
        f"hydra/sweeper={CONTINUED}",
    ]
    sys.argv = [sys.argv[0], "--multirun", *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    decorate = hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="config")
    return sweeps.supervise(decorate(continued_job), sweep)


def continued_job(composed: DictConfig) -> float:
    """Hydra's entry for a job that is in the record already: what conf/ composes to now does not matter."""
    return sweeps.run_job(Config(), Path(HydraConfig.get().runtime.output_dir))


def _tell_changes(sweep: Sweep, record: dict[str, Any]) -> None:
    """Warn where conf/ would compose something else now."""
    try:
        planned = combinations.plan(record["overrides"]).combinations
        now = [to_dict(sweeps.with_threads(combination.config, record["threads"])) for combination in planned]
    except ConfigError as error:
        console.warn(f"conf/ has changed since and would refuse this sweep now ({error}); the recorded values are used")
        return
    recorded = {job.number: job.config for job in sweep.jobs()}
    changed = {key for n, values in enumerate(now) for key in values if recorded.get(n, values).get(key) != values[key]}
    if changed and record["total"] == len(now):
        console.warn(f"conf/ has changed since in {', '.join(sorted(changed))}; the recorded values are used")
