"""What the terminal shows."""

import pytest

from dcgan_exp import console


def test_the_line_is_the_listings() -> None:
    measures = {"d_loss": 0.2352, "d_accuracy": 92.578125, "g_loss": 4.601653}
    assert console.listing_line(1000, measures) == "1000 [D loss: 0.235200, acc.: 92.58%] [G loss: 4.601653]"


@pytest.mark.parametrize(("seconds", "text"), [(8.44, "8.4 s"), (187, "3 min 07 s"), (7500, "2 h 05 min")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_output_that_is_no_terminal_gets_plain_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with console.TrainingProgress(10, 8) as progress:
        measures = {"d_loss": 0.5, "d_accuracy": 50.0, "g_loss": 1.0}
        progress.advance(5, measures)
        progress.report(5, measures)
        console.say("[bold]not markup[/bold]")
    out = capfd.readouterr().out
    assert out.splitlines() == ["5 [D loss: 0.500000, acc.: 50.00%] [G loss: 1.000000]", "[bold]not markup[/bold]"]


def test_native_noise_is_silenced_and_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with console.native_noise_silenced():
        os.write(2, b"noise")
    os.write(2, b"signal")
    assert capfd.readouterr().err == "signal"
