"""One file to pixels, against Pillow; and files that a stranger made."""

import io
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from dcgan_exp import decoding
from dcgan_exp.decoding import Settings, decode, decode_block
from dcgan_exp.image_arrays import fit

RANDOM = np.random.default_rng(0)
SMOOTH = np.asarray(Image.fromarray(RANDOM.integers(0, 256, (6, 8, 3), np.uint8)).resize((40, 30)))


def saved(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def as_is(path: str, size: tuple[int, int] = (30, 40), channels: int | None = None) -> np.ndarray:
    """The file's own pixels: squeezed into nothing, since the height and width are those of the tests."""
    with Image.open(path) as image:
        assert (image.height, image.width) in (size, size[::-1])
    return decode(path, Settings(max(size), channels, "none"))


@pytest.mark.parametrize("kind", ["png", "webp", "bmp", "gif", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_gives_pillows_pixels(tmp_path: Path, kind: str, mode: str) -> None:
    path = saved(tmp_path / f"image.{kind}", Image.fromarray(SMOOTH).convert(mode).crop((0, 0, 30, 30)))
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    found = decode(path, Settings(30, None, "center"))
    assert found.shape == (30, 30, 1 if mode == "L" and kind != "webp" else 3)
    np.testing.assert_array_equal(np.broadcast_to(found, expected.shape), expected)


@pytest.mark.parametrize(("size", "channels", "crop"), [(16, 3, "center"), (16, 1, "center"), (45, 3, "none")])
def test_a_file_is_brought_to_size_like_an_array(tmp_path: Path, size: int, channels: int, crop: str) -> None:
    path = saved(tmp_path / "image.png", Image.fromarray(SMOOTH))
    expected = fit(SMOOTH[None], size, channels, crop)[0]
    np.testing.assert_array_equal(decode(path, Settings(size, channels, crop)), expected)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 65536, (30, 30), np.uint16)
    found = decode(saved(tmp_path / "image.png", Image.fromarray(values)), Settings(30, None, "center"))
    np.testing.assert_array_equal(found[..., 0], np.rint(values / 257))


def test_the_transparent_colour_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 3, (30, 30), np.uint16) * 30000
    found = decode(
        saved(tmp_path / "image.png", Image.fromarray(values), transparency=30000), Settings(30, None, "center")
    )
    np.testing.assert_array_equal(found[..., 0], np.where(values == 30000, 255, np.rint(values / 257)))


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "RGBA", "LA", "PA"])
def test_other_modes_are_what_pillow_shows_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(SMOOTH).crop((0, 0, 30, 30)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((30, 30)))
    image = image.convert("RGB" if mode in ("1", "P", "CMYK") else "RGBA").convert("RGBA" if mode == "PA" else mode)
    if mode == "PA":  # a palette with transparency, as GIF and PNG have it
        image = image.quantize(16)
    path = saved(tmp_path / ("image.jpeg" if mode == "CMYK" else "image.png"), image)
    with Image.open(path) as opened:
        shown = opened.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
    found = decode(path, Settings(30, None, "center"))
    assert found.shape[2] == (1 if mode in ("1", "LA") else 3)
    np.testing.assert_array_equal(np.broadcast_to(found, (30, 30, 3)), np.asarray(expected))


def test_a_grey_palette_is_grey(tmp_path: Path) -> None:
    image = Image.fromarray(SMOOTH[:30, :30, 0]).quantize(8)
    for options in ({}, {"transparency": 0}):
        path = saved(tmp_path / "image.png", image, **options)
        assert decode(path, Settings(30, None, "center")).shape == (30, 30, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_camera_that_was_turned(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"image.{kind}", Image.fromarray(SMOOTH), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = decode(path, Settings(60, 3, "none"))
    np.testing.assert_array_equal(found, fit(expected[None], 60, 3, "none")[0])


def test_a_large_jpeg_is_halved_while_it_is_decoded_and_looks_the_same(tmp_path: Path) -> None:
    photograph = Image.fromarray(RANDOM.integers(0, 256, (60, 60, 3), np.uint8)).resize((960, 960))
    path = saved(tmp_path / "image.jpeg", photograph, quality=95)
    with Image.open(path) as image:
        image.draft("RGB", (3 * 32, 3 * 32))
        assert image.size == (120, 120)
        exact = fit(np.asarray(Image.open(path))[None], 32, 3)[0].astype(int)
    difference = np.abs(decode(path, Settings(32, 3, "center")) - exact)
    assert difference.max() <= 6
    assert difference.mean() < 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("arguments", [{}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
def test_a_plain_jpeg_is_what_pillow_makes_of_it(mode: str, arguments: dict[str, Any]) -> None:
    content = io.BytesIO()
    Image.fromarray(SMOOTH).convert(mode).save(content, "JPEG", **arguments)
    found = decoding.plain_jpeg(content.getvalue(), 60)
    assert found is not None
    expected = np.asarray(Image.open(content)).reshape(found.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [10, 11, 20, 21, 40, 41, 300])
def test_a_large_plain_jpeg_is_halved_as_by_pillow(size: int) -> None:
    content = io.BytesIO()
    Image.fromarray(SMOOTH).resize((331, 250)).save(content, "JPEG")
    with Image.open(content) as image:
        image.draft("RGB", (decoding.DRAFT * size, decoding.DRAFT * size))
        np.testing.assert_array_equal(decoding.plain_jpeg(content.getvalue(), size), np.asarray(image))


def test_a_jpeg_that_is_not_plain_is_left_to_pillow() -> None:
    contents = {"turned": io.BytesIO(), "CMYK": io.BytesIO(), "damaged": io.BytesIO()}
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SMOOTH).save(contents["turned"], "JPEG", exif=exif)
    Image.fromarray(SMOOTH).convert("CMYK").save(contents["CMYK"], "JPEG")
    Image.fromarray(SMOOTH).save(contents["damaged"], "JPEG")
    contents["damaged"].truncate(contents["damaged"].tell() - 200)
    for content in contents.values():
        assert decoding.plain_jpeg(content.getvalue(), 60) is None


# Strangers' files --------------------------------------------------------------------------------


def bomb(width: int) -> bytes:
    """A small PNG that says that it is large."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, width, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def strangers_files(folder: Path) -> dict[str, str]:
    """Files that can't be read, with a word of the reason."""
    photograph = io.BytesIO()
    Image.fromarray(SMOOTH).save(photograph, "JPEG")
    (folder / "cut.jpg").write_bytes(photograph.getvalue()[:-200])
    (folder / "bomb.png").write_bytes(bomb(30_000))
    (folder / "large.png").write_bytes(bomb(9_500))
    (folder / "text.png").write_text("no image")
    (folder / "empty.gif").write_bytes(b"")
    (folder / "folder.png").mkdir()
    (folder / "absent.png").symlink_to(folder / "nowhere")
    subprocess.run(["mkfifo", folder / "pipe.png"], check=True)
    reasons = {"cut.jpg": "truncated", "bomb.png": "30000 x 30000 pixels", "large.png": "9500 x 9500 pixels"}
    reasons |= {"text.png": "no PNG", "empty.gif": "no PNG"}
    return reasons | {"folder.png": "directory", "absent.png": "No such file", "pipe.png": "not a file"}


def test_strangers_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    reasons = strangers_files(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        block = decode_block([str(tmp_path / name) for name in reasons], Settings(8, None, "center"))
    assert len(block.images) == 0
    for index, (name, word) in enumerate(reasons.items()):
        assert word in block.refused[index], name
        assert "\n" not in block.refused[index]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "gif"])
def test_damage_anywhere_never_raises_and_a_plain_png_is_read_as_by_pillow(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"image.{kind}"
    content = Path(saved(path, Image.fromarray(SMOOTH).crop((0, 0, 30, 30)))).read_bytes()
    random = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(150):
            damaged = bytearray(content)
            damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
            path.write_bytes(bytes(damaged[: random.integers(1, 2 * len(damaged))]))
            found = decode_block([str(path)], Settings(30, 3, "none"))
            try:
                with Image.open(path) as image:
                    expected = np.asarray(image.convert("RGB"))
            except Exception:
                assert found.refused
                continue
            if kind == "png" and not found.refused and expected.shape == (30, 30, 3):
                np.testing.assert_array_equal(found.images[0], expected)


def test_grey_among_rgb_is_repeated_and_the_order_stays(tmp_path: Path) -> None:
    image = Image.fromarray(SMOOTH).crop((0, 0, 30, 30))
    paths = [str(tmp_path / name) for name in ("0.png", "none.png", "1.png")]
    image.convert("L").save(paths[0])
    image.save(paths[2])
    block = decode_block(paths, Settings(30, None, "center"))
    assert block.taken == [0, 2]
    np.testing.assert_array_equal(block.images[0], np.asarray(image.convert("L").convert("RGB")))
    np.testing.assert_array_equal(block.images[1], np.asarray(image))


def test_the_worker_answers_what_the_function_gives(tmp_path: Path) -> None:
    names = ["0.png", "line\nbreak.png", "text.png", "caf\u00e9.png", "\udcff.png"]
    paths = [str(tmp_path / name) for name in names]
    for path in paths:
        Path(path).write_text("no image") if "text" in path else saved(Path(path), Image.fromarray(SMOOTH))
    settings = Settings(16, None, "center")
    here, there = socket.socketpair()
    command = [sys.executable, "-P", "-m", "dcgan_exp.decoding", str(there.fileno())]
    with subprocess.Popen(command, pass_fds=[there.fileno()]) as process:
        there.close()
        with here, here.makefile("rb") as answers, here.makefile("wb") as requests:
            assert answers.read(1) == decoding.READY
            for asked in (paths, paths[2:3]):
                decoding.ask(requests, asked, settings)
                expected, found = decode_block(asked, settings), decoding.answer(answers)
                np.testing.assert_array_equal(found.images, expected.images)
                assert (found.taken, found.refused) == (expected.taken, expected.refused)
            here.shutdown(socket.SHUT_WR)
            with pytest.raises(EOFError):
                decoding.answer(answers)
        assert process.wait(600) == 0
