"""The safe expressions of --where."""

import pytest

from dcgan_exp.expressions import ExpressionError, names, parse

RUN = {"optimizer.learning_rate": 1e-3, "status": "finished", "seed": 3, "reason": None, "model.widths": [1, 2]}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("optimizer.learning_rate<1e-2 and status==finished", True),
        ("optimizer.learning_rate<1e-3 or status=='failed'", False),
        ("not status==finished", False),
        ("1 < seed <= 3", True),
        ("status in (finished, running)", True),
        ("status not in [failed]", True),
        ("seed == -3", False),
        ("reason == null", True),
        ("reason < 3", False),
        ("status < 3", False),
        ("model.widths == [1, 2]", True),
        ("(seed==3 or seed==4) and not (status==failed)", True),
    ],
)
def test_an_expression_tests_a_run(text: str, holds: bool) -> None:
    assert parse(text, RUN)(RUN.get) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "seed == __import__('os').getpid()",
        "().__class__ == seed",
        "[x for x in (1,)] == seed",
        "seed == 2**99999999",
        "(lambda: 1)() == seed",
        "seed == f'{seed}'",
        "status == name-with-dash",
        "status",
        "",
        "seed ==",
        "seed is 3",
        "\0",
        "(" * 5000,
        "not " * 400 + "seed==1 and" + " " * 2000,
    ],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ExpressionError) as error:
        parse(text, RUN)
    assert "\n" not in str(error.value)


def test_a_key_that_no_run_has_is_named_with_the_nearest() -> None:
    with pytest.raises(
        ExpressionError, match=r"no run has the key optimizer.learnin_rate; did you mean optimizer.learning"
    ):
        parse("optimizer.learnin_rate<1", RUN)


def test_names_are_the_dotted_names() -> None:
    assert {"a.b", "c"} <= names("a.b<1 and c==d")
    assert names("(") == set()
