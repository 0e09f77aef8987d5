"""Model cards say what run.json says, as text that can't become Markdown."""

from pathlib import Path

from run_folders import make_run

from dcgan_exp import cards, runs


def test_a_card_tells_data_settings_quality_and_licence(tmp_path: Path) -> None:
    run = runs.read(make_run(tmp_path / "run", name="blobs"))
    card = cards.model_card(run, "onnx", "generator.onnx", "generator.keras", 1e-6)
    for text in (
        "`blobs`",
        "`mnist`, `60000` images",
        "`aaaa",
        "- seed: `0`",
        "not measured",
        "CC BY-SA 3.0",
        "1.0e-06",
    ):
        assert text in card


def test_names_can_not_become_markdown(tmp_path: Path) -> None:
    run = runs.read(make_run(tmp_path / "run", name="`x` ](javascript:)\n# <script>"))
    heading = cards.model_card(run, "keras", "generator.keras", "last", 0).splitlines()[1]
    assert heading == "# `'x' ](javascript:)?# <script>`"
