"""Grids, animations and curves, against numpy slices and what Pillow decodes from the bytes."""

import io
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_exp import images

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> images.Pixels:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def decoded(png: bytes) -> images.Pixels:
    return np.asarray(Image.open(io.BytesIO(png)))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "000000.png"
    path.write_bytes(content)
    return path


# to_uint8


def test_every_level_survives_the_round_trip() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(images.to_uint8(levels / np.float32(127.5) - 1), levels)


def test_values_are_rounded_and_clipped() -> None:
    values = np.array([-9, -1, 99.4 / 127.5 - 1, 99.6 / 127.5 - 1, 1, 9, 3e38], np.float32)
    assert images.to_uint8(values).tolist() == [0, 0, 99, 100, 255, 255, 255]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_is_black(kind: type) -> None:
    assert images.to_uint8(np.array([np.nan, np.inf, -np.inf], kind)).tolist() == [0, 0, 0]


# Grids


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(16, None, (4, 4)), (1, None, (1, 1)), (5, None, (2, 3)), (7, 2, (4, 2))]
)
def test_cells_lie_row_by_row(count: int, columns: int | None, shape: tuple[int, int], channels: int) -> None:
    batch = noise(count, 6, 5, channels)
    picture = images.grid(batch, columns)
    assert picture.shape[:2] == (shape[0] * 8 - 2, shape[1] * 7 - 2)
    picture = picture.reshape(*picture.shape[:2], channels).copy()
    for index in range(count):
        top, left = index // shape[1] * 8, index % shape[1] * 7
        assert np.array_equal(picture[top : top + 6, left : left + 5], batch[index])
        picture[top : top + 6, left : left + 5] = 128
    assert (picture == 128).all()  # gaps and empty cells


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_pixels_and_the_text(shape: tuple[int, ...]) -> None:
    picture = noise(*shape)
    png = images.encode_png(picture, {"iteration": "12", "name": "größer 名"})
    assert np.array_equal(decoded(png), picture)
    assert Image.open(io.BytesIO(png)).text == {"iteration": "12", "name": "größer 名"}


def test_a_view_of_an_array_is_encoded_as_seen() -> None:
    picture = noise(8, 8)[::2, ::-1]
    assert np.array_equal(decoded(images.encode_png(picture)), picture)


def test_a_small_grid_is_enlarged_by_a_whole_factor() -> None:
    batch = noise(16, 28, 28, 1)
    picture = decoded(images.grid_png(batch))
    assert picture.shape == (354, 354)
    assert np.array_equal(picture, np.kron(images.grid(batch), np.ones((3, 3), np.uint8)))


@pytest.mark.parametrize("shape", [(16, 28, 28, 1), (5, 9, 7, 3), (1, 1, 1, 1), (2, 300, 200, 3), (17, 64, 64, 1)])
def test_read_grid_gets_the_images_back(shape: tuple[int, ...], tmp_path: Path) -> None:
    batch = noise(*shape)
    assert np.array_equal(images.read_grid(written(tmp_path, images.grid_png(batch))), batch)


# Files of strangers


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes, text: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def geometry(text: str) -> bytes:
    return chunk(b"tEXt", images.GEOMETRY_KEY.encode() + b"\0" + text.encode())


def as_gif() -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "GIF")
    return file.getvalue()


GOOD = images.grid_png(np.zeros((4, 8, 8, 1), np.uint8))
BAD_FILES = {
    "empty": b"",
    "text": b"not a picture\n" * 50,
    "gif": as_gif(),
    "cut": GOOD[: len(GOOD) - 40],
    "damaged": GOOD.replace(b"IDAT\x78", b"IDAT\0"),
    "head only": GOOD[:20],
    "no geometry": images.encode_png(np.zeros((18, 18), np.uint8)),
    "64 MP": png_of(8001, 8000, b"\0"),
    "100 MP": png_of(10_000, 10_000, b"\0"),
    "bomb": png_of(2_000_000_000, 2_000_000_000, b"\0"),
    "text bomb": png_of(18, 18, bytes(19 * 18), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000)))),
    "no pixels": png_of(0, 0, b""),
}
BAD_GEOMETRIES = [
    "4 images of 8 x 8 pixels in 3 columns, enlarged 1 times",
    "4 images of 8 x 8 pixels in 2 columns, enlarged 2 times",
    "9 images of 8 x 8 pixels in 2 columns, enlarged 1 times",
    "99999999 images of 99999999 x 99999999 pixels in 1 columns, enlarged 99999999 times",
    "0 images of 8 x 8 pixels in 2 columns, enlarged 1 times",
    "-4 images of 8 x 8 pixels in 2 columns, enlarged 1 times",
    "٤ images of 8 x 8 pixels in 2 columns, enlarged 1 times",
    "",
    "4" * 10_000,
]


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=str(path)) as caught:
        images.read_grid(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    refusal(written(tmp_path, content))


def test_a_picture_within_pillows_limit_but_above_ours_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    assert "8001 x 8000 pixels, too many" in refusal(written(tmp_path, BAD_FILES["64 MP"]))


@pytest.mark.parametrize("text", BAD_GEOMETRIES, ids=range(len(BAD_GEOMETRIES)))
def test_a_geometry_that_does_not_fit_is_refused(text: str, tmp_path: Path) -> None:
    refusal(written(tmp_path, png_of(18, 18, bytes(19 * 18), geometry(text))))


def test_a_geometry_that_fits_is_taken(tmp_path: Path) -> None:
    text = "4 images of 8 x 8 pixels in 2 columns, enlarged 1 times"
    path = written(tmp_path, png_of(18, 18, bytes(19 * 18), geometry(text)))
    assert images.read_grid(path).shape == (4, 8, 8, 1)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16"])
def test_other_kinds_of_pixels_are_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (18, 18)).save(tmp_path / "other.png")
    assert "neither grey nor RGB" in refusal(tmp_path / "other.png")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "not a file" in refusal(tmp_path)
    assert "not a file" in refusal(tmp_path / "absent.png")


# Animation


def grids(folder: Path, count: int, channels: int = 1) -> list[tuple[int, Path]]:
    paths = [(1000 * index, folder / f"{1000 * index:06d}.png") for index in range(count)]
    for _, path in paths:
        path.write_bytes(images.grid_png(noise(4, 8, 8, channels)))
    return paths


def gif_frames(gif: bytes) -> tuple[list[images.Pixels], list[int]]:
    with Image.open(io.BytesIO(gif)) as image:
        pictures, durations = [], []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            pictures.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
    return pictures, durations


@pytest.mark.parametrize(("channels", "tolerance"), [(1, 5), (3, 60)])
def test_each_frame_shows_its_grid_above_its_caption(channels: int, tolerance: int, tmp_path: Path) -> None:
    frames = grids(tmp_path, 5, channels)
    pictures, durations = gif_frames(images.animation_gif(frames, milliseconds=120))
    assert durations == [120] * 4 + [1500]
    for (_, path), picture in zip(frames, pictures, strict=True):
        expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
        shown, caption = picture[: len(expected)], picture[len(expected) :]
        assert abs(shown - expected).max() <= tolerance
        assert caption.max() - caption.min() > 200
        assert 0.02 < (caption < 128).mean() < 0.3
    assert not np.array_equal(pictures[0][-20:], pictures[1][-20:])


def test_it_loops_for_ever(tmp_path: Path) -> None:
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in images.animation_gif(grids(tmp_path, 2))


def test_one_grid_is_an_animation_too(tmp_path: Path) -> None:
    pictures, durations = gif_frames(images.animation_gif(grids(tmp_path, 1)))
    assert len(pictures) == 1
    assert durations == [1500]


def test_many_frames_are_thinned_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []

    def captioned(iteration: int, path: Path) -> Image.Image:
        shown.append(iteration)
        return Image.new("L", (8, 8), len(shown) % 256)

    monkeypatch.setattr(images, "_captioned", captioned)
    images.animation_gif([(index, tmp_path) for index in range(1001)])
    assert (len(shown), shown[0], shown[-1]) == (200, 0, 1000)
    assert set(np.diff(shown)) == {5, 6}
    shown.clear()
    images.animation_gif([(index, tmp_path) for index in range(200)])
    assert shown == list(range(200))


def test_no_frames_unequal_frames_and_bad_files_are_refused(tmp_path: Path) -> None:
    frames = grids(tmp_path, 2)
    with pytest.raises(ValueError, match="at least one grid"):
        images.animation_gif([])
    frames[1][1].write_bytes(images.grid_png(noise(4, 9, 9, 1)))
    with pytest.raises(ValueError, match=r"001000\.png differs in size"):
        images.animation_gif(frames)
    frames[1][1].write_bytes(b"text")
    with pytest.raises(ValueError, match=r"001000\.png can't be read"):
        images.animation_gif(frames)


# Curves


def metrics(rows: int) -> dict[str, list[float | None]]:
    iterations = np.arange(1, rows + 1) * 100.0
    real, fake = 90 + RANDOM.normal(0, 3, (2, rows))
    losses = 0.3 + RANDOM.random(rows), 3 + RANDOM.random(rows)
    columns = iterations, iterations * 128, *losses, real, fake, (real + fake) / 2
    names = ["iteration", "images_seen", *images.LINES][:7]
    return {name: column.tolist() for name, column in zip(names, columns, strict=True)}


def drawn(columns: images.Columns, title: str = "run") -> images.Pixels:
    with Image.open(io.BytesIO(images.curves_png(columns, title))) as image:
        return np.asarray(image.convert("RGB"))


def pixels_of(picture: images.Pixels, color: str) -> int:
    return int((picture == [int(color[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1).sum())


BLUE, VERMILION, BLACK = "#0072B2", "#D55E00", "#000000"


@pytest.mark.parametrize("rows", [0, 1, 2, 20, 10_000])
def test_any_number_of_rows_is_drawn(rows: int) -> None:
    picture = drawn(metrics(rows))
    assert picture.shape == (900, 1200, 3)
    assert pixels_of(picture, VERMILION) > 50


def test_more_rows_leave_more_ink() -> None:
    ink = [pixels_of(drawn(metrics(rows)), VERMILION) for rows in (0, 1, 20, 1000)]
    assert ink == sorted(ink)
    assert len(set(ink)) == 4


def test_no_columns_at_all_are_no_rows_yet() -> None:
    assert np.array_equal(drawn({}), drawn(metrics(0)))
    assert not np.array_equal(drawn({}), drawn({"iteration": [1.0]}))


def test_holes_are_left_for_what_is_not_finite() -> None:
    columns = metrics(20)
    columns["g_loss"] = [None, math.nan, math.inf, -math.inf] * 5
    assert pixels_of(drawn(columns), VERMILION) < pixels_of(drawn(metrics(20)), VERMILION) / 2
    drawn({name: [None] * 5 for name in columns})
    drawn({name: [math.nan] * 5 for name in columns})
    drawn({name: [math.inf] * 5 for name in columns})


@pytest.mark.parametrize("worst", [1e6, -1e6, 1e38, 1e308, -1e308])
def test_one_huge_loss_does_not_flatten_the_others(worst: float) -> None:
    columns = metrics(20)
    columns["d_loss"] = [0.1 if index % 2 else 0.9 for index in range(20)]
    columns["g_loss"] = [3.0] * 19 + [worst]
    picture = drawn(columns)[:500]
    rows = np.flatnonzero((picture == [0x00, 0x72, 0xB2]).all(axis=-1).sum(axis=1))
    assert np.ptp(rows[rows > 60]) > 5  # the curve, below the legend, moves up and down


def test_losses_of_nought_are_drawn() -> None:
    drawn(metrics(3) | {"d_loss": [0.0] * 3, "g_loss": [0.0] * 3})
    drawn(metrics(3) | {"d_loss": [0.0] * 3, "g_loss": [0.0, 0.0, 1e9]})


def test_accuracies_keep_their_axis() -> None:
    low, high = metrics(5), metrics(5)
    for name in ("d_accuracy", "d_accuracy_real", "d_accuracy_fake"):
        low[name], high[name] = [25.0] * 5, [75.0] * 5
    heights = []
    for columns in (low, high):
        blue = (drawn(columns)[560:] == [0x00, 0x72, 0xB2]).all(axis=-1)
        heights.append(int(blue.sum(axis=1).argmax()))
    low_height, high_height = heights
    assert 100 < low_height - high_height < 200  # half of a panel, whatever the values


def test_quality_gets_a_panel_where_it_was_measured() -> None:
    plain = metrics(5)
    nothing = {"kernel_classifier_distance": [None] * 5}
    some: dict[str, list[float | None]] = {"kernel_classifier_distance": [None, 0.3, 0.2, None, 0.1]}
    both: dict[str, list[float | None]] = {**some, "frechet_classifier_distance": [90.0] * 5}
    assert np.array_equal(drawn(plain | nothing), drawn(plain))
    assert drawn(plain | some).shape == (1125, 1200, 3)
    assert drawn(plain | both).shape == (1350, 1200, 3)


@pytest.mark.parametrize(
    "title", ["", "a_b$x^$", "$\\frac{$", "名前 🦆", "two\nlines\t", "x" * 500, "{} %s \x00\x1b", "\udcff"]
)
def test_any_title_is_shown_as_it_is(title: str) -> None:
    assert drawn(metrics(2), title).shape == (900, 1200, 3)


# Bytes and imports

PROGRAM = """
import hashlib, sys
from pathlib import Path
import numpy as np
from dcgan_exp import images
assert not {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
folder = Path(sys.argv[1])
frames = []
for index, batch in enumerate(np.random.default_rng(1).integers(0, 256, (3, 4, 8, 8, 3), dtype=np.uint8)):
    (folder / f"{index}.png").write_bytes(images.grid_png(batch))
    frames.append((index, folder / f"{index}.png"))
made = frames[0][1].read_bytes(), images.animation_gif(frames), images.curves_png({"iteration": [1.0, 2.0]}, "run")
assert "matplotlib.pyplot" not in sys.modules and "tensorflow" not in sys.modules
print(*(hashlib.sha256(content).hexdigest() for content in made))
"""


def test_two_processes_make_the_same_bytes_without_tensorflow(tmp_path: Path) -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1]
    assert len(told[0].split()) == 3


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    frames, columns = grids(tmp_path, 3), metrics(20)
    assert images.animation_gif(frames) == images.animation_gif(frames)
    assert images.curves_png(columns, "run") == images.curves_png(columns, "run")
