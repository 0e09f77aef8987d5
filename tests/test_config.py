"""The border: what conf/ composes, and one line for everything that can't be used."""

import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from dcgan_exp.config import (
    CONF_FOLDER,
    NAMES,
    Config,
    ConfigError,
    base_size,
    choices,
    compose,
    derived_widths,
    doubts,
    flatten,
    from_yaml,
    optimizer_arguments,
    to_dict,
)

BAD = {
    "batchsize=3": "batchsize=3: there is no such key; did you mean batch_size?",
    "+foo=1": "foo=1: there is no such key",
    "model.generator.width=[3]": "did you mean model.generator.widths?",
    "model=huge": "model=huge: choose from book,",
    "eval_interval=0": "eval_interval=0: allowed is a finite number at least 1, or null for never",
    "model=null": "model=null: choose from book,",
    "+experiment=3": "experiment=3: choose from best,",
    "model=[book,huge]": "model=huge: choose from book,",
    "loss=hing": "loss=hing: choose from",
    "experiment=none_such": "experiment=none_such: choose from",
    "data.name=imagenet": "data.name=imagenet: choose from",
    "data.fallback=imagenet": "data.fallback=imagenet: choose from",
    "batch_size=many": "batch_size=many: a whole number is needed",
    "batch_size=1.5": "batch_size=1.5: a whole number is needed",
    "batch_size=0": "batch_size=0: allowed is a finite number at least 1",
    "batch_size=-5": "batch_size=-5: allowed",
    "iterations=0": "iterations=0: allowed",
    "sample_interval=0": "sample_interval=0: allowed",
    "latent_dim=0": "latent_dim=0: allowed",
    "seed=-1": "seed=-1: allowed",
    "threads=-1": "threads=-1: allowed",
    "threads=null": "threads=null: ",
    "precision=float8": "precision=float8: choose from float32, mixed_bfloat16, mixed_float16",
    "optimizer.learning_rate=0": "optimizer.learning_rate=0.0: allowed is a finite number above 0",
    "optimizer.learning_rate=-1e-3": "optimizer.learning_rate=-0.001: allowed",
    "optimizer.learning_rate=nan": "optimizer.learning_rate=nan: allowed",
    "optimizer.learning_rate=inf": "optimizer.learning_rate=inf: allowed",
    "optimizer.learning_rate=null": "optimizer.learning_rate=null: a finite number above 0 is needed",
    "optimizer.beta_1=1": "optimizer.beta_1=1.0: allowed is a finite number at least 0 and below 1",
    "optimizer.momentum=0.5": "optimizer.momentum=0.5: adam takes learning_rate, beta_1",
    "optimizer.generator.rho=0.5": "optimizer.generator.rho=0.5: adam takes",
    "model.generator.widths=[]": "model.generator.widths=[]: 1 to 10 numbers are needed",
    "model.generator.widths=[256,0,64]": "model.generator.widths=[256, 0, 64]: allowed",
    "model.generator.widths=[256,x,64]": "model.generator.widths[1]=x: a whole number is needed",
    "model.generator.widths=3": "model.generator.widths=3: ",
    "model.generator=3": "model.generator=3: ",
    "model.generator.strides=[2,2]": "model.generator.strides=[2, 2]: 3 strides are needed",
    "model.discriminator.strides=[3,2,2]": "model.discriminator.strides=[3, 2, 2]: choose from 1, 2",
    "data.image_size=30": "data.image_size=30: the strides of model=book reach 28 and 32 (nearest)",
    "data.channels=2": "data.channels=2: choose from 1, 3",
    "data.path=photos (1)": "data.path=photos (1): a text with such characters needs quotes: 'data.path=\"...\"'",
    'data.path="pictures\udcff"': "data.path=pictures\\xff: UTF-8 is needed: give a link with another name",
    "data.path=it's": "data.path=it's: a text with such characters needs quotes",
    "name=a,b": "name=a,b: a text with such characters needs quotes",
    "loss.one_sided_label_smoothing=0.6": "loss.one_sided_label_smoothing=0.6: allowed",
    "regularizer.weight=5": "regularizer.weight=5.0: regularizer=none takes none",
    "schedule.final=0.5": "schedule.final=0.5: schedule=constant takes none",
    "batch_size=[1": "command line=",
    "batch_size": "command line=",
}


@pytest.mark.parametrize("override", BAD)
def test_a_bad_value_gets_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([override])
    assert BAD[override] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("loss=hinge loss.one_sided_label_smoothing=0.2", "loss=hinge has no labels"),
        ("update=shared regularizer.name=r1", "regularizer.weight=0.0: regularizer=r1 needs one above 0"),
    ],
)
def test_a_value_without_meaning_is_refused(overrides: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        compose(overrides.split())


def test_quotes_make_any_path_a_text() -> None:
    assert compose(['data.path="/tmp/(x), y=[1]"']).data.path == "/tmp/(x), y=[1]"


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        ("", 0),
        ("loss=wasserstein", 1),
        ("loss=wasserstein model.discriminator.normalization=spectral", 0),
        ("loss=wasserstein update=shared regularizer=gradient_penalty", 0),
        ("experiment=fast loss=wasserstein regularizer=gradient_penalty", 1),  # batch normalisation in D
    ],
)
def test_what_is_seldom_meant_is_doubted(overrides: str, count: int) -> None:
    assert len(doubts(compose(overrides.split()))) == count


def test_the_default_is_the_listing() -> None:
    config = compose()
    assert (config.batch_size, config.iterations, config.sample_interval) == (128, 20000, 1000)
    assert (config.latent_dim, config.update.name, config.loss.name) == (100, "book", "non_saturating")
    keras_defaults = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    assert optimizer_arguments(config.optimizer, "generator") == keras_defaults


def test_a_network_inherits_what_it_does_not_set() -> None:
    config = compose(["optimizer=adam", "optimizer.discriminator.learning_rate=4e-4"])
    assert optimizer_arguments(config.optimizer, "discriminator")["learning_rate"] == 4e-4
    assert optimizer_arguments(config.optimizer, "generator")["learning_rate"] == 2e-4
    assert optimizer_arguments(config.optimizer, "discriminator")["beta_1"] == 0.5


@pytest.mark.parametrize("group", [path.name for path in CONF_FOLDER.iterdir() if path.is_dir()])
def test_every_choice_composes(group: str) -> None:
    assert choices(group)
    for choice in choices(group):
        size = re.search(r"(?<=paper_)\d+", choice) if group == "model" else None
        sized = [f"data.image_size={size[0]}"] if size else []
        shared = [] if group in ("update", "experiment") else ["update=shared"]  # the update that takes them all
        assert isinstance(compose([f"{group}={choice}", *shared, *sized]), Config)


def test_names_in_the_files_are_known() -> None:
    for group, known in NAMES.items():
        names = {yaml.safe_load((CONF_FOLDER / group / f"{c}.yaml").read_text())["name"] for c in choices(group)}
        assert names == set(known or choices(group))


def test_every_experiment_names_its_command_first() -> None:
    for choice in choices("experiment"):
        lines = (CONF_FOLDER / "experiment" / f"{choice}.yaml").read_text().splitlines()
        assert f"experiment={choice}" in lines[0] + lines[1]


def test_a_configuration_survives_yaml() -> None:
    config = compose(["model=paper", "optimizer=sgd", "name=a name"])
    assert from_yaml(yaml.safe_dump(to_dict(config))) == config


@pytest.mark.parametrize(
    "text",
    [
        "name: ${oc.env:HOME}",
        "name: !!python/object/apply:os.system [true]",
        "_target_: os.system",
        "hydra: {callbacks: {x: {_target_: os.system}}}",
        "[1, 2]",
        "a: [",
    ],
)
def test_a_strangers_yaml_is_plain_values_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        from_yaml(text)


@pytest.mark.parametrize(("size", "expected"), [(28, [128, 256]), (32, [128, 256, 512]), (64, [128, 256, 512, 1024])])
def test_derived_widths_are_the_papers(size: int, expected: list[int]) -> None:
    assert derived_widths(size) == expected


@pytest.mark.parametrize(("size", "base"), [(28, 7), (32, 4), (48, 6), (64, 4), (96, 6), (128, 4)])
def test_the_base_is_the_size_over_the_strides(size: int, base: int) -> None:
    assert base_size(compose(["model=paper", f"data.image_size={size}"])) == base


@pytest.mark.parametrize(("model", "size", "nearest"), [("paper", 30, "28 and 32"), ("paper", 44, "40 and 48")])
def test_an_image_size_out_of_reach_names_the_nearest(model: str, size: int, nearest: str) -> None:
    with pytest.raises(ConfigError, match=nearest):
        compose([f"model={model}", f"data.image_size={size}"])


def test_the_schema_is_what_conf_holds() -> None:
    """Each key of the schema can be set, and conf/config.yaml holds no other."""
    file = OmegaConf.load(Path(CONF_FOLDER / "config.yaml"))
    keys = {key for key, _ in flatten(OmegaConf.to_container(file)) if not key.startswith(("hydra", "defaults"))}
    assert keys <= {key for key, _ in flatten(to_dict(Config()))}
