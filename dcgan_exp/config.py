"""The schema of conf/, and the one border at which a configuration is checked.

Hydra composes the YAML groups over `Config`; `from_hydra` turns the result into these dataclasses once.
After that nothing checks again and no DictConfig travels. This module never imports TensorFlow, and Hydra only where it
composes: `dcgan-exp list` needs neither.
"""

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONF_FOLDER = Path(__file__).resolve().parent.parent / "conf"
NORMALIZATIONS = ("none", "batch", "spectral", "layer")
XLA_ON_PROCESSORS = "on a processor it makes an iteration many times slower: give null or false"
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


class ConfigError(ValueError):
    """A key with a value that can't be used. Its text is one line: the key, the value, what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        shown = "null" if value is None else str(value)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        super().__init__(f"{key}={shown!s}: {allowed}".replace("\n", " "))
        self.key = key


def limited(default: Any = None, **limits: Any) -> Any:
    """A dataclass field with its allowed values: `above`, `at_least`, `below`, `at_most`, `choices` or `size`.

    `null` says what null means, to whoever gives a value that is not allowed. For a list, the limits hold for each
    element and `size=(least, most)` for its length.
    """
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=limits)
    return field(default=default, metadata=limits)


@dataclass
class DataConfig:
    """Which images are learnt."""

    name: str = "mnist"
    path: str | None = None  # a file or folder of the user's; null = look in the usual places
    fallback: str | None = None  # the data set to take when the network is out; null = refuse
    image_size: int = limited(28, at_least=8, at_most=512)  # pixels, height and width
    channels: int | None = limited(1, choices=(1, 3))  # 1 grey, 3 RGB; null = what the images are
    crop: str = limited("center", choices=("center", "none"))  # to a square: cut off the edges, or squeeze
    flip: bool = False  # show D half of the real images mirrored, left for right
    on_bad_file: str = limited("skip", choices=("skip", "fail"))  # an image file that can't be read: tell and go on
    # The share of a set without test images that is not trained on, so that samples can be scored against it.
    held_out: float = limited(0.2, at_least=0.0, at_most=0.5)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image that is learnt, made and drawn, once `channels` is known."""
        assert self.channels is not None
        return self.image_size, self.image_size, self.channels


@dataclass
class GeneratorConfig:
    """Latents -> Dense -> transposed convolutions -> tanh."""

    # The width of the dense base and of each hidden layer after it; null = derived from the image size.
    widths: list[int] | None = limited(None, at_least=1, at_most=8192, size=(1, 10))
    # One stride for each transposed convolution, the last of which makes the image; null = all 2.
    strides: list[int] | None = limited(None, choices=(1, 2), size=(1, 10))
    kernel_size: int = limited(3, at_least=1, at_most=31)
    activation: str = limited("leaky_relu", choices=("relu", "leaky_relu"))
    negative_slope: float = limited(0.01, at_least=0.0, at_most=1.0)  # of leaky_relu
    base_normalization: bool = False  # batch normalisation after the dense base too


@dataclass
class DiscriminatorConfig:
    """Convolutions -> Flatten -> Dense -> one logit an image."""

    widths: list[int] | None = limited(None, at_least=1, at_most=8192, size=(1, 10))
    strides: list[int] | None = limited(None, choices=(1, 2), size=(1, 10))  # null = all 2
    kernel_size: int = limited(3, at_least=1, at_most=31)
    negative_slope: float = limited(0.01, at_least=0.0, at_most=1.0)
    normalization: str = limited("none", choices=NORMALIZATIONS)  # batch and layer: not on the first layer
    dropout: float = limited(0.0, at_least=0.0, below=1.0)


@dataclass
class ModelConfig:
    """The two networks."""

    name: str = "book"
    # Standard deviation of the normal initial weights; null = Keras' default (Glorot uniform).
    initializer_stddev: float | None = limited(None, above=0.0)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)


@dataclass
class OptimizerValues:
    """Keras' constructor arguments; null = not given."""

    learning_rate: float | None = limited(None, above=0.0)
    beta_1: float | None = limited(None, at_least=0.0, below=1.0)
    beta_2: float | None = limited(None, at_least=0.0, below=1.0)
    epsilon: float | None = limited(None, above=0.0)
    momentum: float | None = limited(None, at_least=0.0, below=1.0)
    rho: float | None = limited(None, at_least=0.0, below=1.0)
    weight_decay: float | None = limited(None, at_least=0.0)
    clipnorm: float | None = limited(None, above=0.0)


@dataclass
class OptimizerConfig(OptimizerValues):
    """One optimizer for each network; a null below `generator` or `discriminator` inherits the common value."""

    name: str = "adam"
    generator: OptimizerValues = field(default_factory=OptimizerValues)
    discriminator: OptimizerValues = field(default_factory=OptimizerValues)


@dataclass
class LossConfig:
    """What the logits are trained towards."""

    name: str = "non_saturating"
    one_sided_label_smoothing: float = limited(0.0, at_least=0.0, below=0.5)  # of the real images' target


@dataclass
class RegularizerConfig:
    """A penalty on D's gradients with respect to images."""

    name: str = "none"
    weight: float = limited(0.0, at_least=0.0)


@dataclass
class AugmentConfig:
    """What happens to images before D judges them."""

    name: str = "none"


@dataclass
class EmaConfig:
    """The exponential moving average of G's weights."""

    decay: float = limited(0.0, at_least=0.0, below=1.0)  # an iteration; 0 = none


@dataclass
class ScheduleConfig:
    """How the learning rates change over the iterations."""

    name: str = "constant"
    final: float = limited(0.0, at_least=0.0, at_most=1.0)  # times the learning rate, at the last iteration


@dataclass
class UpdateConfig:
    """The order of the updates within one iteration."""

    name: str = "book"
    discriminator_steps: int = limited(1, at_least=1, at_most=64)  # D's updates for each one of G's


@dataclass
class TrackerConfig:
    """Which tool of others is told of the run; it changes no result."""

    name: str = "none"
    project: str = "dcgan-exp"  # of wandb; mlflow calls it an experiment
    uri: str | None = None  # mlflow's store; null = MLFLOW_TRACKING_URI, or the folder mlruns/ here
    mode: str = limited("offline", choices=("offline", "online"))  # wandb's; online needs `wandb login` first


@dataclass
class Config:
    """One experiment."""

    name: str | None = None  # a label, shown wherever runs are listed
    batch_size: int = limited(128, at_least=1, at_most=65536)
    iterations: int = limited(20000, at_least=1)
    sample_interval: int = limited(1000, at_least=1)  # iterations between two rows and grids
    checkpoint_interval: int = limited(1000, at_least=1)  # iterations between two checkpoints
    keep_checkpoints: int = limited(2, at_least=1, at_most=1_000_000)  # the newest ones; the older are removed
    eval_interval: int | None = limited(None, at_least=1, null="never")  # iterations between two scores
    eval_samples: int = limited(10_000, at_least=100, at_most=1_000_000)  # images that are scored
    seed: int = limited(0, at_least=0, at_most=2**31 - 1)  # weights, batches and training latents
    sample_seed: int = limited(0, at_least=0, at_most=2**31 - 1)  # the latents of the grids
    latent_dim: int = limited(100, at_least=1, at_most=65536)
    precision: str = limited("float32", choices=PRECISIONS)
    threads: int = limited(0, at_least=0, at_most=1024)  # processor threads; 0 = all cores
    devices: str = "auto"  # auto, cpu, gpu, or how many; see devices.py
    workers: str = limited("tf_config", choices=("tf_config", "slurm"))  # who says which processes train together
    xla: bool | None = None  # null = on a single GPU
    batch_normalization: str = limited("synchronized", choices=("synchronized", "per_replica"))
    job_timeout: float | None = limited(None, above=0.0, null="no limit")  # seconds that a job of a sweep may take
    # What a sweep sorts by and minimises: a metric's last value, or best.METRIC; null = see `objective_of`.
    objective: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)


def register_schema() -> None:
    """Let `- schema`, first in the defaults list, type-check every group."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)


def compose(overrides: Sequence[str] = ()) -> Config:
    """The configuration that `python run.py OVERRIDES...` would run. Raises ConfigError."""
    import hydra

    register_schema()
    with explained(overrides), hydra.initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        composed = hydra.compose("config", overrides=list(overrides))
    return from_hydra(composed)


@contextmanager
def explained(overrides: Sequence[str]) -> Iterator[None]:
    """What Hydra refuses within it is raised as a ConfigError."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: model=3, a group's choice
        raise explain(error, overrides) from error


def from_hydra(composed: "DictConfig") -> Config:
    """The one conversion from what Hydra composed. Raises ConfigError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for key, value in flatten(OmegaConf.to_container(composed)):
        if key not in known_keys():
            raise _unknown(key, value)
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise explain(error) from error
    assert isinstance(config, Config)
    check(config)
    return config


def from_mapping(values: object) -> Config:
    """A configuration from plain values, such as a run folder's config.yaml. Raises ConfigError.

    Interpolations are refused, so that a stranger's file can't read this machine's environment.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(values, dict):
        raise ConfigError("config", type(values).__name__, "a mapping of keys to values is needed")
    for key, value in flatten(values):
        if isinstance(value, str) and "${" in value:
            raise ConfigError(key, value, "a plain value is needed, not an interpolation")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), values)
    except OmegaConfBaseException as error:
        raise explain(error) from error
    assert isinstance(merged, DictConfig)
    return from_hydra(merged)


def from_yaml(text: str) -> Config:
    """A configuration from YAML text; only plain YAML, no tags. Raises ConfigError."""
    try:
        return from_mapping(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError("config", str(error).partition("\n")[0], "plain YAML is needed") from error


# What may change without changing a result, wherever it may; the data's fingerprint is checked on its own.
HARMLESS_KEYS = {
    "name", "threads", "devices", "workers", "xla",
    "checkpoint_interval", "keep_checkpoints", "job_timeout", "objective",
    "data.path", "data.fallback", "tracker.name", "tracker.project", "tracker.uri", "tracker.mode",
}  # fmt: skip
# What leaves the networks as they are: the harmless keys, and those that say when and how they are looked at.
SIDE_KEYS = HARMLESS_KEYS | {"sample_interval", "eval_interval", "eval_samples", "data.on_bad_file"}


def objective_of(config: Config) -> str:
    """What a sweep minimises: the given objective; else the best score, or G's last loss in a run too short for one."""
    return config.objective or ("best.training_kernel_distance" if is_scored(config) else "g_loss")


def is_scored(config: Config) -> bool:
    """Whether the run comes to an iteration at which its generator is scored."""
    return config.eval_interval is not None and config.eval_interval <= config.iterations


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested values, ready for YAML or JSON."""
    return {
        f.name: to_dict(getattr(config, f.name)) if is_dataclass(f.type) else getattr(config, f.name)
        for f in fields(config)
    }


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(`optimizer.beta_1`, 0.9) pairs of nested mappings."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# Checks ------------------------------------------------------------------------------------------


def check(config: Config) -> None:
    """Every value in its range and all values possible together. Raises ConfigError for the first that isn't."""
    _check_limits(config, "")
    for group in NAMES:
        _check_choice(group, getattr(config, group).name)
    if config.data.fallback is not None:
        _check_choice("data", config.data.fallback, "data.fallback")
    _check_optimizer(config.optimizer)
    _check_update(config)
    _check_unused(config)
    _check_devices(config)
    base_size(config)
    layer_plan("discriminator", config.model.discriminator, config.data.image_size)


def _check_limits(section: Any, prefix: str) -> None:
    for item in fields(section):
        key, value = prefix + item.name, getattr(section, item.name)
        if is_dataclass(value):
            _check_limits(value, key + ".")
        elif isinstance(value, list):
            least, most = item.metadata["size"]
            if not least <= len(value) <= most:
                raise ConfigError(key, value, f"{least} to {most} numbers are needed")
            for element in value:
                _check_limit(key, value, element, dict(item.metadata))
        elif value is not None:
            _check_limit(key, value, value, dict(item.metadata))


def _check_limit(key: str, shown: object, value: Any, limits: dict[str, Any]) -> None:
    if isinstance(value, str):
        _check_text(key, value)
    if "choices" in limits and value not in limits["choices"]:
        raise ConfigError(key, shown, "choose from " + ", ".join(str(c) for c in limits["choices"]))
    wrong = (
        (isinstance(value, float) and not math.isfinite(value))
        or ("above" in limits and not value > limits["above"])
        or ("at_least" in limits and not value >= limits["at_least"])
        or ("below" in limits and not value < limits["below"])
        or ("at_most" in limits and not value <= limits["at_most"])
    )
    if wrong:
        raise ConfigError(key, shown, "allowed is " + _describe_range(limits))


def _check_text(key: str, value: str) -> None:
    """A file's name may hold bytes that are no text, for which Python has surrogates, and neither YAML nor JSON any."""
    told = re.sub("[\ud800-\udfff]", lambda surrogate: f"\\x{ord(surrogate[0]) & 0xFF:02x}", value)
    if told != value:
        raise ConfigError(key, told, "UTF-8 is needed: give a link with another name")


def _describe_range(limits: dict[str, Any]) -> str:
    words = {"above": "above", "at_least": "at least", "below": "below", "at_most": "at most"}
    told = [f"{word} {limits[name]:g}" if limits[name] < 1e6 else f"{word} {limits[name]}"
            for name, word in words.items() if name in limits]  # fmt: skip
    or_null = f", or null for {limits['null']}" if "null" in limits else ""
    return "a finite number" + (" " if told else "") + " and ".join(told) + or_null


def choices(group: str) -> list[str]:
    """The YAML files of a group, as a user names them on the command line."""
    return sorted(path.stem for path in (CONF_FOLDER / group).glob("*.yaml"))


def _check_choice(group: str, name: str, key: str | None = None) -> None:
    allowed = NAMES[group] or choices(group)
    if name not in allowed:
        raise ConfigError(key or f"{group}.name", name, "choose from " + ", ".join(allowed))


# What each optimizer of Keras takes beside learning_rate, weight_decay and clipnorm.
OPTIMIZER_ARGUMENTS = {
    "adam": ("beta_1", "beta_2", "epsilon"),
    "adamw": ("beta_1", "beta_2", "epsilon"),
    "rmsprop": ("rho", "momentum", "epsilon"),
    "sgd": ("momentum",),
}
SMOOTHED_LOSSES = ("non_saturating", "least_squares")  # whose one_sided_label_smoothing means something
NAMES: dict[str, tuple[str, ...]] = {
    "data": ("mnist", "mnist_5k", "fashion_mnist", "cifar10", "image_folder", "npz"),
    "model": (),  # a model's name is its YAML file's; the builders read only its values
    "optimizer": tuple(OPTIMIZER_ARGUMENTS),
    "loss": ("non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"),
    "update": ("book", "shared"),
    "regularizer": ("none", "r1", "r1_r2", "gradient_penalty"),
    "augment": ("none", "diffaugment", "ada"),
    "schedule": ("constant", "linear", "cosine"),
    "tracker": ("none", "tensorboard", "mlflow", "wandb"),
}


def optimizer_arguments(config: OptimizerConfig, network: str) -> dict[str, float]:
    """The arguments for Keras' constructor of one network's optimizer, inherited where it has none of its own."""
    own = getattr(config, network)
    pairs = {f.name: getattr(own, f.name) for f in fields(OptimizerValues)}
    inherited = {name: getattr(config, name) if value is None else value for name, value in pairs.items()}
    return {name: value for name, value in inherited.items() if value is not None}


def _check_optimizer(config: OptimizerConfig) -> None:
    taken = ("learning_rate", *OPTIMIZER_ARGUMENTS[config.name], "weight_decay", "clipnorm")
    for prefix, section in (("", config), ("generator.", config.generator), ("discriminator.", config.discriminator)):
        for item in fields(OptimizerValues):
            value = getattr(section, item.name)
            if value is not None and item.name not in taken:
                raise ConfigError(f"optimizer.{prefix}{item.name}", value, f"{config.name} takes {', '.join(taken)}")
    for network in ("generator", "discriminator"):
        if "learning_rate" not in optimizer_arguments(config, network):
            raise ConfigError("optimizer.learning_rate", None, "a finite number above 0 is needed")


def _check_update(config: Config) -> None:
    """The listing's update makes D's two steps apart, which leaves no place for what wants both at once."""
    if config.update.name != "book":
        return
    if config.loss.name == "relativistic":
        raise ConfigError("loss.name", config.loss.name, "it compares real with generated images: add update=shared")
    if config.regularizer.name != "none":
        raise ConfigError("regularizer.name", config.regularizer.name, "update=book takes none: add update=shared")
    if config.update.discriminator_steps != 1:
        raise ConfigError(
            "update.discriminator_steps", config.update.discriminator_steps, "update=book takes 1: add update=shared"
        )


def _check_unused(config: Config) -> None:
    """A value that another choice leaves without meaning is refused: a sweep over it would compare equal runs."""
    loss, regularizer, schedule = config.loss, config.regularizer, config.schedule
    if loss.one_sided_label_smoothing and loss.name not in SMOOTHED_LOSSES:
        allowed = f"loss={loss.name} has no labels: leave it 0, or take loss={' or '.join(SMOOTHED_LOSSES)}"
        raise ConfigError("loss.one_sided_label_smoothing", loss.one_sided_label_smoothing, allowed)
    if regularizer.weight and regularizer.name == "none":
        raise ConfigError("regularizer.weight", regularizer.weight, "regularizer=none takes none: choose another")
    if regularizer.name != "none" and not regularizer.weight:
        allowed = f"regularizer={regularizer.name} needs one above 0; regularizer=none goes without"
        raise ConfigError("regularizer.weight", regularizer.weight, allowed)
    if schedule.final and schedule.name == "constant":
        raise ConfigError("schedule.final", schedule.final, "schedule=constant takes none: choose linear or cosine")


def doubts(config: Config) -> list[str]:
    """What is allowed but seldom meant, a line each."""
    is_critic, regularizer = config.loss.name == "wasserstein", config.regularizer.name
    found = []
    if is_critic and regularizer == "none" and config.model.discriminator.normalization != "spectral":
        found.append("nothing bounds the critic of loss=wasserstein: regularizer=gradient_penalty would")
    if regularizer == "gradient_penalty" and config.model.discriminator.normalization == "batch":
        found.append(
            "regularizer=gradient_penalty is of single images, which model.discriminator.normalization=batch mixes: "
            "layer does not"
        )
    return found


def _check_devices(config: Config) -> None:
    """As far as it does not depend on the machine."""
    if config.devices not in ("auto", "cpu", "gpu") and not re.fullmatch(r"[1-9][0-9]{0,3}", config.devices):
        raise ConfigError("devices", config.devices, "choose from auto, cpu, gpu, or give how many (1, 2, ...)")
    if config.xla and config.devices == "cpu":
        raise ConfigError("xla", "true", XLA_ON_PROCESSORS)


# Shapes ------------------------------------------------------------------------------------------


LARGEST_DERIVED_BASE = 7  # pixels; the paper's is 4


def derived_widths(image_size: int) -> list[int]:
    """The DCGAN paper's widths (Radford et al. 2016, figure 1): 128 at half the image size, doubled at each
    halving down to a base of 4 to 7 pixels, at most 1024. 64 pixels: 128, 256, 512, 1024."""
    halvings, size = 0, image_size
    while size % 2 == 0 and size > LARGEST_DERIVED_BASE:
        halvings, size = halvings + 1, size // 2
    return [min(128 * 2**level, 1024) for level in range(max(halvings, 1))]


def layer_plan(
    network: str, config: GeneratorConfig | DiscriminatorConfig, image_size: int
) -> tuple[list[int], list[int]]:
    """(widths, strides) of a network, derived from the image size where they are null. Raises ConfigError."""
    widths = config.widths
    if widths is None:
        widths = derived_widths(image_size)
        widths = widths[::-1] if network == "generator" else widths
    strides = config.strides or [2] * len(widths)
    if len(strides) != len(widths):
        raise ConfigError(
            f"model.{network}.strides",
            strides,
            f"{len(widths)} strides are needed, one for each of the widths {widths}",
        )
    return widths, strides


def base_size(config: Config) -> int:
    """Pixels of the generator's dense base: image_size / 2^(number of stride-2 layers). Raises ConfigError."""
    section, size = config.model.generator, config.data.image_size
    base = _base_size(section, size)
    if base is None:
        lower = next((near for near in range(size - 1, 0, -1) if _base_size(section, near)), None)
        upper = next(near for near in range(size + 1, 4 * size + 1024) if _base_size(section, near))
        nearest = f"{lower} and {upper}" if lower else str(upper)
        raise ConfigError(
            "data.image_size", size, f"the strides of model={config.model.name} reach {nearest} (nearest)"
        )
    return base


def _base_size(section: GeneratorConfig, image_size: int) -> int | None:
    _, strides = layer_plan("generator", section, image_size)
    base, rest = divmod(image_size, 1 << strides.count(2))
    too_large = section.widths is None and base > LARGEST_DERIVED_BASE
    return None if rest or too_large or base == 0 else base


# Errors ------------------------------------------------------------------------------------------


def known_keys() -> list[str]:
    """Every key of the schema, dotted."""
    return [key for key, _ in flatten(to_dict(Config()))]


TEXT_KEYS = ("name", "data.path", "tracker.project", "tracker.uri", "hydra.run.dir", "hydra.sweep.dir")


def explain(error: Exception, overrides: Sequence[str] = ()) -> ConfigError:
    """Hydra's and OmegaConf's errors, which take several lines, as one line with key, value and what is allowed.

    Where an error does not hold the value, it is looked up among the command line's overrides.
    """
    given = {key.lstrip("+~"): value for key, _, value in (text.partition("=") for text in overrides)}
    chain = [error]
    while chain[-1].__cause__ is not None and isinstance(chain[-1].__cause__, Exception):
        chain.append(chain[-1].__cause__)
    text = "\n".join(str(e) for e in chain)
    if match := re.search(
        r"Could not find '([^']+)'(?s:.*?)Available options in '[^']*':\s*((?:\s*\S+)+?)\s*(?:Config search|$)", text
    ):
        group, _, name = match.group(1).rpartition("/")
        return ConfigError(group, name, "choose from " + ", ".join(match.group(2).split()[:40]))
    if "Config group override must be" in text:
        no_name = re.compile(r"null|true|false|nan|inf|[-+]?[\d.].*", re.IGNORECASE)
        for group, value in given.items():
            if no_name.fullmatch(value) and (choices(group) or group.startswith("hydra")):
                return ConfigError(group, value, "choose from " + (", ".join(choices(group)) or "the group's names"))
    if match := re.search(r"Could not load '([^']+)/([^']+)'", text):
        return ConfigError(match.group(1), match.group(2), "choose from " + ", ".join(choices(match.group(1))))
    if match := re.search(r"Could not override '([^']+)'", text):
        return _unknown(match.group(1), given.get(match.group(1), ""))
    if match := re.search(r"Key '([^']*)' (?:is )?not in '?\w+'?(?s:.*?)full_key: (\S+)", text):
        return _unknown(match.group(2), given.get(match.group(2), ""))
    if match := re.search(
        r"Value '((?s:.*?))' of type '[^']*' could not be converted to (\w+)(?s:.*?)full_key: (\S+)", text
    ):
        wanted = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return ConfigError(match.group(3), match.group(1), wanted.get(match.group(2), match.group(2)) + " is needed")
    if match := re.search(r"Error merging override (\S+?)=.*\n(.*)", text):
        return ConfigError(match.group(1), given.get(match.group(1), "?"), match.group(2))
    if match := re.search(r"(.*)\n(?s:.*?)full_key: (\S+)", text):
        return ConfigError(match.group(2), given.get(match.group(2), "?"), match.group(1))
    return _ungrammatical(text.partition("\n")[0], given)


def _ungrammatical(text: str, given: dict[str, str]) -> ConfigError:
    if re.search("mismatched input|extraneous input|NoViableAlt|Ambiguous value|Error parsing", text):
        for key, value in given.items():
            if key in TEXT_KEYS and re.search(r"[][(){},;='\s]", value):
                shown = value.encode("unicode_escape").decode()
                return ConfigError(key, shown, f"a text with such characters needs quotes: '{key}=\"...\"'")
    return ConfigError("command line", text, "see python run.py --help")


def _unknown(key: str, value: object) -> ConfigError:
    near = difflib.get_close_matches(key, [*known_keys(), *NAMES, "training", "experiment"], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else "; python run.py --help lists the keys"
    return ConfigError(key, value, "there is no such key" + hint)
