"""What stands between Hydra and a run: the checks before Hydra writes anything, and every error in one line.

Exit codes: 0 finished, 1 failed, 2 not started because something asked for can't be used, 130 interrupted.
"""

import os
import shlex
import sys
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dcgan_exp import combinations, console, data, runs, sweeps, trackers, workers
from dcgan_exp.config import (
    CONF_FOLDER,
    Config,
    ConfigError,
    DataConfig,
    choices,
    compose,
    explain,
    explained,
    flatten,
    from_hydra,
    is_scored,
    objective_of,
    register_schema,
    to_dict,
)
from dcgan_exp.sweep_folders import Sweep

if TYPE_CHECKING:
    from dcgan_exp import training

FINISHED, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
TARGETS = {
    "launcher._target_": ("hydra._internal.core_plugins.", "hydra_plugins."),
    "sweeper._target_": ("hydra._internal.core_plugins.", "hydra_plugins."),
    "sweeper.sampler._target_": ("optuna.samplers.",),
}


def register_resolvers() -> None:
    """What the folders in conf/ are made of."""
    # Two runs started in the same second must not share a folder.
    OmegaConf.register_new_resolver("run_token", lambda: token_hex(3), use_cache=True, replace=True)
    sweeps.register_resolver()


register_resolvers()  # at import: the processes that Hydra's launchers start import this module, and need them


def launch(main: Callable[[], object]) -> NoReturn:
    """Check the command line, then let Hydra's `main` run it; exit with the code that tells how it went."""
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach this function instead of being printed in several lines
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = get_args_parser()
    parser.usage = SUPPRESS  # an unknown flag gets one line, not Hydra's whole usage before it
    arguments = parser.parse_args()
    try:
        if arguments.experimental_rerun:  # it unpickles a file, which can run code
            raise ConfigError("--experimental-rerun", arguments.experimental_rerun, "use dcgan-exp reproduce RUN")
        if arguments.help:
            console.say(help_text(arguments.overrides))
        elif arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
            main()
        elif arguments.multirun:
            sys.exit(sweeps.supervise(main, prepare_sweep(arguments.overrides)))
        elif preflight(arguments.overrides):
            main()
        else:
            sys.exit(assist(compose(arguments.overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        refuse(explain(error, arguments.overrides))
    except (ConfigError, runs.RunError) as error:
        refuse(error)
    except KeyboardInterrupt:  # while the data were read, say: a run answers it by itself
        console.fail("interrupted")
        sys.exit(INTERRUPTED)
    sys.exit(FINISHED)


HELP = """Run one experiment, or with -m a sweep of many. Nothing needs to be said: the default is the listing.

    python run.py batch_size=64 model=wide
    python run.py training=quick data.path=mnist.npz
    python run.py -m optimizer.learning_rate=1e-4,1e-3 seed=1,2

Choices (GROUP=CHOICE)
{choices}

Keys and their values (KEY=VALUE, such as optimizer.beta_1=0.5)
{keys}
--cfg job shows the composed configuration; --hydra-help tells of Hydra's own flags."""


def help_text(overrides: Sequence[str]) -> str:
    """What can be said on the command line. (Hydra's own help takes a second to list the groups.)"""
    rows = []
    for group in sorted(path.name for path in CONF_FOLDER.iterdir() if path.is_dir()):
        for number, choice in enumerate(choices(group)):
            text = (CONF_FOLDER / group / f"{choice}.yaml").read_text()
            comments = [line[2:] for line in text.splitlines() if line.startswith("# ") and "@package" not in line]
            rows.append(f"  {'' if number else group:12} {choice:17} {comments[0] if comments else ''}")
    keys = OmegaConf.to_yaml(OmegaConf.create(to_dict(compose(overrides))))
    return HELP.format(choices="\n".join(rows), keys=keys)


def refuse(error: Exception) -> NoReturn:
    """Say in one line what can't be used."""
    console.fail(str(error))
    sys.exit(REFUSED)


def preflight(overrides: Sequence[str]) -> bool:
    """Find everything that would stop the run before anything is written. Raises ConfigError or RunError.

    False in a worker that is not the chief: it must not come to Hydra's `main`, which makes a run folder.
    """
    with explained(overrides), initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        composed = hydra.compose("config", overrides=list(overrides), return_hydra_config=True)
    folder = Path(composed.hydra.run.dir)
    config = task_config(composed)
    check_hydra(composed.hydra)
    check_devices(config)
    if not workers.of(config.workers).is_chief:
        return False
    if runs.is_taken(folder):
        raise runs.RunError(f"{folder} holds a run already; continue it with: dcgan-exp resume {folder}")
    check_writable(folder)
    check_objective(config)
    trackers.check_installed(config.tracker)
    load_data(config.data)
    return True


def check_devices(config: Config) -> None:
    """Raises ConfigError where they are not there. TensorFlow is imported only where it has to be asked."""
    is_plain = config.devices in ("auto", "cpu") and not config.xla and workers.of(config.workers).count == 1
    if not is_plain:
        with console.native_noise_silenced():
            from dcgan_exp import devices
        devices.check(config)


def assist(config: Config) -> int:
    """Train along as a worker that is not the chief. Returns the exit code."""
    members, dataset = workers.of(config.workers), load_data(config.data)
    with console.native_noise_silenced():
        from dcgan_exp import training
    console.say(f"worker {members.index} of {members.count} assists worker 0, the chief, which keeps the run folder")
    outcome = training.assist(config, dataset)
    (console.fail if outcome.status == "failed" else console.say)(f"{outcome.status}: {outcome.reason or 'all done'}")
    return {"finished": FINISHED, "interrupted": INTERRUPTED}.get(outcome.status, FAILED)


def prepare_sweep(overrides: Sequence[str]) -> Sweep:
    """Check every job, write the sweep's plan, and put its folder on the command line that Hydra reads.

    Raises ConfigError or RunError, before anything is written.
    """
    plan = combinations.plan(overrides)
    check_hydra(plan.hydra)
    folder = Path(plan.hydra.sweep.dir).absolute()
    check_writable(folder, "hydra.sweep.dir")
    warnings = set()
    for combination in plan.combinations:
        if workers.of(combination.config.workers).count > 1:
            source = ("workers", "slurm") if combination.config.workers == "slurm" else ("TF_CONFIG", "several workers")
            raise ConfigError(*source, "each job of a sweep trains in one process: leave it out")
        check_objective(combination.config)
        trackers.check_installed(combination.config.tracker)
        dataset = load_data(combination.config.data)
        combination.config.data.channels = dataset.images.shape[3]  # known from here on, to a resumed job too
        warnings.add(dataset.warning)
    for warning in sorted(filter(None, warnings)):
        console.warn(warning)
    _load_data.cache_clear()
    sweep = sweeps.create(folder, plan)
    flags = [text for text in sys.argv[1:] if text not in overrides]
    kept = [text for text in plan.overrides if not text.startswith("hydra.sweep.dir=")]
    sys.argv[1:] = [*flags, *kept, f"hydra.sweep.dir={combinations.quoted(folder)}"]
    return sweep


def check_objective(config: Config) -> None:
    """Raises ConfigError where no run will have what a sweep is to sort by."""
    objective = objective_of(config)
    metric = objective.removeprefix("best.")
    if metric not in (*runs.MEASURES, *runs.SCORES):
        allowed = ", ".join((*runs.MEASURES, *runs.SCORES))
        raise ConfigError("objective", objective, f"choose from {allowed}, or best. and one of them")
    if metric in runs.SCORES and not is_scored(config):
        raise ConfigError("objective", objective, "these runs are not scored: set eval_interval, at most iterations")


def task_config(composed: DictConfig) -> Config:
    """The experiment's part of a configuration that holds Hydra's own settings too. Raises ConfigError."""
    task = composed.copy()
    OmegaConf.set_struct(task, False)
    del task["hydra"]
    return from_hydra(task)


def check_hydra(settings: DictConfig) -> None:
    """Raises ConfigError where Hydra's own settings name code to run: a stranger's YAML must not.

    Hydra instantiates its callbacks, launcher and sweeper, and Python's logging whatever its settings name.
    """
    for name in settings.callbacks or ():
        raise ConfigError(f"hydra.callbacks.{name}", "...", "callbacks run code and are not taken")
    for name, value in flatten(OmegaConf.to_container(settings, resolve=False)):
        own = str(value).startswith(TARGETS.get(name, ()))
        keys = name.split(".")
        names_code = keys[-1] == "_target_" or name == "sweeper.custom_search_space"
        if names_code and not own and value is not None:
            raise ConfigError(f"hydra.{name}", value, "only Hydra's own launchers and sweepers are taken")
        foreign = keys[-1] == "()" or (keys[-1] == "class" and not str(value).startswith(("logging.", "colorlog.")))
        if keys[0] in ("job_logging", "hydra_logging") and foreign:
            raise ConfigError(f"hydra.{name}", value, "logging settings that name code are not taken")


def check_writable(folder: Path, key: str = "hydra.run.dir") -> None:
    """Raises ConfigError where the folder can't be made or written."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        os.rmdir(mkdtemp(dir=existing))  # trying is the only sure way: root passes every check of permissions
    except OSError as error:
        raise ConfigError(key, folder, f"{existing}: {error.strerror}; choose a folder that can be written") from error


def load_data(config: DataConfig) -> data.Dataset:
    """The images, read once in this process however often they are asked for. Raises ConfigError."""
    return _load_data(**to_dict(config))


@lru_cache(maxsize=1)
def _load_data(**values: object) -> data.Dataset:
    return data.load(DataConfig(**values))  # type: ignore[arg-type]


def run_job(config: Config, folder: Path) -> float | None:
    """Train in the folder and say how it went. Returns what a sweep minimises."""
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return sweeps.run_job(config, folder)
    dataset = load_data(config.data)
    if dataset.warning:
        console.warn(dataset.warning)
    with console.native_noise_silenced():
        from dcgan_exp import training  # here, so that --help and errors need no TensorFlow

    outcome = training.train(config, dataset, folder)
    code = tell(outcome, folder)
    if code != FINISHED:
        sys.exit(code)
    if command := whole_command(HydraConfig.get().overrides.task):
        console.say(f"the full experiment, {Config.iterations:,} iterations: {command}")
    return outcome.measures["g_loss"]


def whole_command(overrides: Sequence[str]) -> str | None:
    """What runs the experiment in full, where `training=quick` has shortened it."""
    if "training=quick" not in overrides:
        return None
    kept = [text for text in overrides if text.partition("=")[0] not in ("training", "iterations")]
    return shlex.join(["python", "run.py", *kept])


def tell(outcome: "training.Outcome", folder: Path) -> int:
    """Say how a run went. Returns the exit code."""
    line = f"{outcome.status} after {console.duration(outcome.seconds)}: {folder}"
    if outcome.status == "failed":
        console.fail(f"{line}: {outcome.reason}")
        return FAILED
    console.say(f"{line}: {outcome.reason}" if outcome.reason else line, "bold")
    if outcome.status != "finished":
        console.say(f"continue it with: dcgan-exp resume {folder}")
        return INTERRUPTED
    console.say(
        f"look at {folder}/{runs.CURVES} and {folder}/{runs.SAMPLES}/, or compare runs: dcgan-exp compare outputs"
    )
    return FINISHED
