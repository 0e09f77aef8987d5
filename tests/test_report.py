"""The compare page: what is written, and what a browser without a network makes of it."""

import base64
import io
import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_folders import default_row, make_run, samples

from dcgan_exp import comparison, fairness, images, index, report

EVIL = "<img src=x onerror=alert(1)></script><script>document.title='pwned'</script><!--"


def rows_of(*folders: Path) -> list[comparison.Row]:
    return comparison.build([index.read_entry(folder) for folder in folders])


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1), parse_constant=lambda _: 1 / 0)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs: two seeds, another loss with a later step and no end, one that failed, one with a hostile name."""
    root = tmp_path_factory.mktemp("page")
    quality = lambda i: {**default_row(i), "kernel_classifier_distance": 1 / i}  # noqa: E731
    folders = [
        make_run(root / "a", rows=6, row=quality),
        make_run(root / "b", rows=6, row=quality, seed=1, optimizer__learning_rate=5e-4),
        make_run(root / "c", rows=3, status="killed", loss__name="hinge", row=quality, seed=1),
        make_run(
            root / "d",
            rows=6,
            status="failed",
            reason="the losses or weights were not finite at iteration 60",
            optimizer__learning_rate=0.1,
            row=lambda i: {**quality(i), "g_loss": math.nan if i > 30 else 1},
        ),
        make_run(
            root / "e", rows=6, name=EVIL, grid=lambda i: samples(i, spread=1 if i < 40 else 0), row=quality, seed=1
        ),
    ]
    rows = rows_of(*folders)
    path = root / "page.html"
    said = report.write(rows, path, [*fairness.warnings(rows), f"left out: {EVIL}"])
    assert said == [f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)"]
    return path


# What is written ---------------------------------------------------------------------------------


def test_a_name_from_a_run_folder_is_never_markup(page: Path) -> None:
    text = page.read_text()
    assert "<img src=x" not in text
    assert text.count("<script") == 3
    assert text.count("</script>") == 3
    assert any(run["config"]["name"] == EVIL for run in data_of(text)["runs"])


def test_script_json_can_end_no_script() -> None:
    hostile = {"</script>": "<!-- & ]]> \u2028"}
    text = report.script_json(hostile)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == hostile


def test_equal_grids_are_stored_once_and_exact(page: Path) -> None:
    data = data_of(page.read_text())
    assert len({picture for run in data["runs"][:2] for _, picture in run["grids"]}) == 7  # the same latents and steps
    content = base64.b64decode(data["pictures"][data["runs"][0]["grids"][2][1]].partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        assert np.array_equal(np.asarray(picture)[..., 0], images.grid(samples(20)))


def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    found: list[str | None] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if name in ("src", "href"))

    Links().feed(page.read_text())
    assert found == ["data:,", "#runs"]
    assert "url(" not in page.read_text().partition("</style>")[0]


def noise_runs(folder: Path, count: int, rows: int) -> list[comparison.Row]:
    def noise(iteration: int, seed: int) -> np.ndarray:
        return np.random.default_rng([iteration, seed]).integers(0, 256, (16, 28, 28, 1), np.uint8)

    return rows_of(
        *(make_run(folder / str(n), rows=rows, seed=n, grid=lambda i, n=n: noise(i, n)) for n in range(count))
    )


def test_levels_of_brightness_go_before_the_grids_leave_the_page(tmp_path: Path) -> None:
    rows = noise_runs(tmp_path, count=2, rows=2)
    path = tmp_path / "page.html"
    report.write(rows, path, [])
    exact = path.stat().st_size
    (line,) = report.write(rows, path, [], budget_bytes=exact - 10_000)
    assert "with 32 levels" in path.read_text()
    assert path.stat().st_size < exact - 10_000
    assert line == f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)"


def test_past_the_budget_the_grids_lie_beside_the_page_and_it_is_said(tmp_path: Path) -> None:
    rows = noise_runs(tmp_path, count=2, rows=2)
    path = tmp_path / "my page.html"
    said = report.write(rows, path, [], budget_bytes=100_000)
    assert said[1] == f"with its grids the page would be larger than 0.1 MB: they lie in {tmp_path / 'my page_files'}"
    data = data_of(path.read_text())
    assert len(data["pictures"]) == 6
    for source in data["pictures"]:
        assert (tmp_path / source.replace("%20", " ")).is_file()


def test_unreadable_grids_are_said_on_the_page_and_the_terminal(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", rows=2)
    rows = rows_of(folder)
    grid = rows[0].entries[0].run.samples()[10]
    grid.write_bytes(b"no picture")
    said = report.write(rows, tmp_path / "page.html", [])
    assert len(said) == 2
    assert grid.name in said[1]
    assert [iteration for iteration, _ in data_of((tmp_path / "page.html").read_text())["runs"][0]["grids"]] == [0, 20]


def test_one_run_without_rows_or_grids_makes_a_page(tmp_path: Path) -> None:
    rows = rows_of(make_run(tmp_path / "run", rows=0, grid=None))
    assert len(report.write(rows, tmp_path / "page.html", [])) == 1


@pytest.mark.slow
def test_fifty_runs_of_twenty_noisy_grids_are_under_12_megabytes(tmp_path: Path) -> None:
    report.write(noise_runs(tmp_path, count=50, rows=19), tmp_path / "page.html", [])
    assert (tmp_path / "page.html").stat().st_size < 12_000_000
    assert not (tmp_path / "page_files").exists()


# In a browser ------------------------------------------------------------------------------------

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1400,1000",
)  # fmt: skip


class Browser:
    """A headless Chromium, as far as these tests need it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())
        self.wait("document.documentElement.dataset.ready === 'true'")

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait(self, condition: str, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, condition
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).click()")

    def keys(self, selector: str, *keys: str) -> None:
        self.driver.find_element("css selector", selector).send_keys(*keys)

    def rows(self) -> list[str]:
        return self.run("return [...document.querySelectorAll('#table tbody tr')].map(row => row.dataset.run)")

    def width(self, pixels: int, height: int = 800) -> None:
        metrics = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary, server = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not server:
        pytest.skip("Debian's chromium and chromium-driver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(server))
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield Browser(driver)
    driver.quit()


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    chromium.width(1400)
    chromium.driver.get_log("browser")
    chromium.open(page)
    yield chromium
    assert chromium.driver.get_log("browser") == []


def test_the_page_opens_without_a_network_and_shows_everything(browser: Browser) -> None:
    assert browser.rows() == ["a", "b", "c", "d", "e"]
    assert browser.run("return document.title") == "5 runs compared"
    assert (
        browser.run("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length")
        == 0
    )
    assert browser.run("return document.querySelectorAll('#chart-0 .scatterlayer .trace').length") >= 5
    assert browser.run("return document.querySelectorAll('#parallel .scatterlayer .trace').length") == 5
    assert browser.run("return [...document.images].every(image => image.complete && image.naturalWidth === 118)")
    assert "loss functions differ" in browser.run("return document.querySelector('.fairness').textContent")
    assert "generator collapsed @40" in browser.run("return document.querySelector('[data-run=e]').textContent")


def test_headings_sort_by_keyboard(browser: Browser) -> None:
    head = "#table thead th:nth-child(%d) button"
    names = browser.run("return [...document.querySelectorAll('#table thead th')].map(head => head.textContent)")
    number = next(place for place, name in enumerate(names, 1) if "learning_rate" in name)
    browser.keys(head % number, "\ue007")
    assert browser.rows()[0] == "b"
    assert browser.run(f"return document.querySelector('#table thead th:nth-child({number})').ariaSort") == "ascending"
    browser.keys(head % number, " ")
    assert browser.rows()[0] == "d"
    assert browser.run("return document.getElementById('sorted').textContent").endswith("descending")


def test_losses_sort_within_each_loss_function_and_it_is_said(browser: Browser) -> None:
    browser.run("sortBy(data.columns.find(column => column.key === 'g_loss'))")
    rows = browser.rows()
    assert rows[0] == "c"  # hinge, whatever its loss
    assert rows[-1] == "d"  # not a number
    assert "within each loss function" in browser.run("return document.getElementById('sort-note').textContent")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("learning_rate<0.001", ["b"]),
        ("hinge", ["c"]),
        ("status=failed", ["d"]),
        ("collapsed seed=1", ["e"]),
        ("nonsense", []),
    ],
)
def test_the_filter_takes_words_and_comparisons(browser: Browser, text: str, rows: list[str]) -> None:
    browser.keys("#filter", text)
    assert browser.rows() == rows
    assert browser.run("return document.getElementById('count').textContent").startswith(f"{len(rows)} of 5 runs")


def iterations(browser: Browser) -> dict[str, str]:
    return browser.run(
        "return Object.fromEntries([...document.querySelectorAll('figure')]"
        ".map(figure => [figure.dataset.run, figure.dataset.iteration]))"
    )


def test_the_slider_moves_images_and_the_curves_cursor(browser: Browser) -> None:
    browser.keys("#slider", "\ue011", "\ue014", "\ue014")  # Home, then right twice
    assert set(iterations(browser).values()) == {"20"}
    assert browser.run("return document.getElementById('slider').getAttribute('aria-valuetext')") == "iteration 20"
    browser.wait("document.getElementById('chart-0').layout.shapes[0].x0 === 20")
    browser.keys("#slider", "\ue010")  # End
    assert iterations(browser) == {"a": "60", "b": "60", "c": "30", "d": "60", "e": "60"}
    text = browser.run("return document.querySelector('figure[data-run=c]').textContent")
    assert "at 30 (nearest earlier, killed at 30)" in text


def test_a_point_of_a_curve_moves_slider_and_images(browser: Browser) -> None:
    point = browser.run(
        "const chart = document.getElementById('chart-0');"
        "chart.scrollIntoView({block: 'center', behavior: 'instant'});"
        "const box = chart.getBoundingClientRect(), axes = chart._fullLayout, trace = chart.data[0];"
        "const at = (axis, value) => axis._offset + axis.d2p(value);"
        "return [box.x + at(axes.xaxis, trace.x[3]), box.y + at(axes.yaxis, trace.y[3])]"
    )
    browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": point[0] + 1, "y": point[1]})
    browser.wait("document.getElementById('slider').value === '4'")
    assert iterations(browser)["a"] == "40"
    assert iterations(browser)["c"] == "30"


def test_play_walks_to_the_end_and_stops(browser: Browser) -> None:
    browser.run("setCursor(40)")
    browser.keys("#play", "\ue007")
    assert browser.run("return document.getElementById('play').getAttribute('aria-pressed')") == "true"
    browser.wait("document.getElementById('play').getAttribute('aria-pressed') === 'false'")
    assert iterations(browser)["a"] == "60"


def test_smoothing_keeps_the_raw_curve_and_uses_every_row(browser: Browser) -> None:
    before = browser.run(
        "return document.getElementById('chart-1').data.filter(trace => trace.mode !== 'markers').length"
    )
    browser.run("const s = document.getElementById('smoothing'); s.value = 0.5; s.dispatchEvent(new Event('input'))")
    browser.wait(
        f"document.getElementById('chart-1').data.filter(trace => trace.mode === 'lines').length === {2 * before}"
    )
    raw, smooth = browser.run("return document.getElementById('chart-1').data.slice(0, 2).map(trace => [...trace.y])")
    assert len(raw) == len(smooth) == 6
    expected = (0.5 * 0.5 * raw[0] + 0.5 * raw[1]) / 0.75
    assert smooth[1] == pytest.approx(expected)


@pytest.mark.parametrize(("axis", "last"), [("images_seen", 480), ("seconds", 60 / 7)])
def test_the_x_axis_can_be_images_or_seconds(browser: Browser, axis: str, last: float) -> None:
    browser.click(f"input[value={axis}]")
    browser.wait(f"Math.abs(document.getElementById('chart-0').data[0].x.at(-1) - {last}) < 1e-3")
    assert len(browser.run("return document.getElementById('chart-0').layout.shapes")) == 5


def test_the_keyboard_zooms_a_chart(browser: Browser) -> None:
    browser.keys("#chart-0", "+")
    browser.wait("document.getElementById('chart-0').layout.xaxis.autorange === false")
    browser.keys("#chart-0", "0")
    browser.wait("document.getElementById('chart-0').layout.xaxis.autorange === true")
    browser.run("setCursor(30)")
    browser.keys("#chart-0", "\ue012")
    assert iterations(browser)["a"] == "20"


def test_choosing_runs_changes_curves_samples_and_configuration(browser: Browser) -> None:
    browser.click("#choose-none")
    assert iterations(browser) == {}
    browser.click("[data-run=a] input")
    browser.click("[data-run=b] input")
    assert set(iterations(browser)) == {"a", "b"}
    keys = "return [...document.querySelectorAll('#config tbody tr')].map(row => row.cells[0].textContent)"
    assert browser.run(keys) == ["seed", "optimizer.learning_rate"]
    browser.click("#all-keys")
    assert "latent_dim" in browser.run(keys)


def test_everything_that_takes_input_has_a_label(browser: Browser) -> None:
    unnamed = browser.run(
        "return [...document.querySelectorAll('input, select, button')].filter(node => !node.textContent.trim()"
        " && !node.ariaLabel && !(node.labels || []).length).map(node => node.outerHTML)"
    )
    assert unnamed == []
    assert browser.run("return [...document.images].every(image => image.alt)")


def test_outliers_can_be_zoomed_past_and_come_back(browser: Browser) -> None:
    browser.run("data.runs[0].curves[charts[0].select.value][0] = 1e6")
    top = "document.getElementById('chart-0').layout.yaxis.range[1]"
    browser.click("#bulk")
    browser.wait(f"{top} < 10")
    browser.click("#bulk")
    browser.wait(f"{top} > 1e6")


@pytest.mark.parametrize("width", [390, 1600])
def test_the_page_fits_its_screen(browser: Browser, page: Path, width: int) -> None:
    browser.width(width)
    browser.open(page)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_dark_screens_get_a_dark_page(browser: Browser, page: Path) -> None:
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 27)"
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
