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


def test_a_checkpoint_gets_its_own_scores_or_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    rows = [["iteration", "frechet_classifier_distance"], ["10", "8.5"], ["20", "6.25"]]
    (folder / runs.METRICS).write_text("\n".join(",".join(row) for row in rows) + "\n")
    run = runs.read(folder)

    def quality(source: str) -> str:
        return cards.model_card(run, "keras", "generator.keras", source, 0).split("## Quality")[1]

    assert "`frechet_classifier_distance`: 8.5 (iteration 10)" in quality("checkpoint 10")
    assert "6.25" not in quality("checkpoint 10")
    assert "not measured at iteration 15" in quality("checkpoint 15")
    assert "6.25 (the run's last)" in quality("generator.keras")


def test_names_can_not_become_markdown(tmp_path: Path) -> None:
    run = runs.read(make_run(tmp_path / "run", name="`x` ](javascript:)\n# <script>"))
    heading = cards.model_card(run, "keras", "generator.keras", "last", 0).splitlines()[1]
    assert heading == "# `'x' ](javascript:)?# <script>`"
