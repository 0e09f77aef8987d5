"""What a command line with -m asks for, and the names of its jobs' folders."""

import re
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dcgan_exp import launching  # noqa: F401  it registers what conf/ names folders with
from dcgan_exp.combinations import Plan, expand_pairs, folder_name, plan, quoted
from dcgan_exp.config import ConfigError, register_schema

register_schema()


def planned(*overrides: str) -> Plan:
    return plan(["data=mnist_5k", *overrides])


def changed(*overrides: str) -> list[str]:
    return [" ".join(combination.changed) for combination in planned(*overrides).combinations]


def test_lists_make_every_combination() -> None:
    assert changed("seed=1,2", "loss=hinge,non_saturating") == [
        "seed=1 loss=hinge", "seed=1 loss=non_saturating", "seed=2 loss=hinge", "seed=2 loss=non_saturating",
    ]  # fmt: skip


def test_ranges_and_globs_work() -> None:
    assert changed("seed=range(1,4)") == ["seed=1", "seed=2", "seed=3"]
    assert changed("model=glob(*,exclude=*a*)") == ["model=book", "model=wide"]


def test_what_all_jobs_share_is_no_difference() -> None:
    combination = planned("batch_size=16", "seed=1,2").combinations[1]
    assert combination.changed == ["seed=2"]
    assert (combination.config.batch_size, combination.config.seed) == (16, 2)


def test_zip_takes_values_in_pairs_of_groups_and_lists_too() -> None:
    text = "zip={optimizer.learning_rate:[1e-4,2e-4],model:[book,wide],model.generator.kernel_size:[3,5]}"
    first, second = planned(text).combinations
    assert first.changed == ["optimizer.learning_rate=0.0001", "model=book", "model.generator.kernel_size=3"]
    assert (second.config.optimizer.learning_rate, second.config.model.name) == (2e-4, "wide")
    assert second.config.model.generator.kernel_size == 5


def test_zip_multiplies_with_lists_and_other_zips() -> None:
    assert len(changed("zip={seed:[1,2,3],batch_size:[8,16,32]}", "loss=hinge,non_saturating")) == 6
    twice = changed("zip={seed:[1,2],batch_size:[8,16]}", "zip={iterations:[5,6],sample_interval:[1,2]}")
    assert twice[1] == "seed=1 batch_size=8 iterations=6 sample_interval=2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zip={seed:[1,2],batch_size:[8]}", "seed has 2, batch_size has 1"),
        ("zip={seed:[1,2]}", "two or more keys"),
        ("zip=3", "two or more keys"),
        ("zip={seed:[],batch_size:[]}", "equal length"),
        ("zip={seed", "two or more keys"),
        ("zip={sead:[1,2],batch_size:[8,16]}", "there is no such key"),
        ("zip={seed:[1,-2],batch_size:[8,16]}", "seed=-2"),
    ],
)
def test_a_bad_zip_gets_one_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        planned(text)


def test_a_key_is_given_inside_or_outside_of_zip() -> None:
    with pytest.raises(ConfigError, match="outside of zip"):
        expand_pairs(["seed=3", "zip={seed:[1,2],batch_size:[8,16]}"])


def test_one_bad_value_among_many_is_found() -> None:
    with pytest.raises(ConfigError, match="seed=-1"):
        planned("seed=range(1,11)", "optimizer.beta_1=0.5,0.9", "seed=1,2,3,-1")


def test_no_job_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="no job"):
        planned("model=glob(zzz*)")


@pytest.mark.parametrize(
    "value",
    ["../../etc", "a/b", "[1, 2]", "x" * 300, "a b", "größe", "日本", "", "..", "a\nb", "%s{}", "-", "'\"`$(reboot)"],
)
def test_a_folder_name_is_safe_whatever_a_value_holds(value: str) -> None:
    name = folder_name(7, 100, [f"name={value}"])
    assert re.fullmatch(r"07-[A-Za-z0-9=._+-]+", name)
    assert len(name) <= 80
    assert ".." not in name


def test_cut_names_stay_apart() -> None:
    long = "x" * 300
    assert folder_name(1, 9, [f"name={long}a"]) != folder_name(1, 9, [f"name={long}b"])


def test_numbers_are_padded_for_the_whole_sweep() -> None:
    assert folder_name(3, 1000, ["seed=1"]) == "003-seed=1"
    assert folder_name(3, 1001, ["seed=1"]) == "0003-seed=1"
    assert folder_name(0, 2, ["optimizer.generator.beta_1=0.5", "model=wide"]) == "00-beta_1=0.5-model=wide"


@pytest.mark.parametrize("path", ["/a b/c=d,e", "/it's", "/ü{x}", "/back\\slash"])
def test_a_path_is_quoted_for_hydra(path: str) -> None:
    assert OverridesParser.create().parse_override(f"k={quoted(Path(path))}").value() == path
