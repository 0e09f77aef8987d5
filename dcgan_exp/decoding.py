"""One image file -> pixels; as a program, workers that decode files for another process.

A stranger's file may make a decoder fail in any way, and even crash it: then only the worker dies. It needs
nothing but numpy, Pillow and simplejpeg, so that it starts at once.
"""

import json
import os
import stat
import struct
import sys
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import PIL
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from dcgan_exp.image_arrays import Images, fit

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif")
MOST_PIXELS = 89_478_485  # of a file: Pillow's own limit, from which on it warns of a bomb
DRAFT = 3  # times the wanted size: a JPEG that is larger still is halved while it is decoded
ORIENTED = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # where a camera's orientation may stand
SMALL = 2**20  # bytes: a larger file is not read at once
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_HEADER = len(PNG_START) + 17  # its fields and their checksum
PNG_MODES = {0: "L", 2: "RGB"}
JPEG_MODES = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB"}  # of the file's colours
JPEG_METADATA = b"\xff\xe1"  # where the orientation may stand; within the pixels' own bytes it can't occur
DECODERS = (PIL.__version__, simplejpeg.__version__)  # other versions may give other pixels
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")


@dataclass(frozen=True)
class Settings:
    """What pixels are wanted, beside the file that they come from."""

    size: int  # pixels, height and width
    channels: int | None  # 1, 3, or null: 1 of a grey file, 3 of any other
    crop: str  # center or none


@dataclass
class Block:
    """Decoded files, in their order."""

    images: Images  # (n, size, size, 1 or 3) of the files that could be read
    taken: list[int]  # (n,) which of the files they are
    refused: dict[int, str]  # which of the files could not be read, with the reason


def decode(path: str, settings: Settings) -> Images:
    """(size, size, 1 or 3) of one file. Raises nearly anything where it can't be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would never end
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a file")
        content = file.read(min(status.st_size, SMALL) + 1)
        found = plain(content, settings.size) if len(content) <= SMALL else None
        if found is None:
            file.seek(0)
            with _opened(BytesIO(content) if len(content) <= SMALL else file) as image:
                if image.format == "JPEG":
                    # The decoder's own halving loses nothing that the resampling to a third or less would keep.
                    image.draft(image.mode, (DRAFT * settings.size, DRAFT * settings.size))
                found = pixels(image)
    shape = (settings.size, settings.size, settings.channels or found.shape[2])
    return found if found.shape == shape else fit(found[None], settings.size, shape[2], settings.crop)[0]


def _opened(file: Any) -> Image.Image:
    image = Image.open(file, formats=FORMATS)
    _check_size(image.width, image.height)
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, more than {MOST_PIXELS:,}")


def plain(content: bytes, size: int) -> Images | None:
    """The pixels of a file that needs none of Pillow's care, null for any other."""
    found = plain_png(content)
    return plain_jpeg(content, size) if found is None else found


def plain_png(content: bytes) -> Images | None:
    """(height, width, 1 or 3) of a PNG that holds 8-bit grey or RGB pixels and nothing else, twice as fast as by
    Pillow's own reader, with Pillow's decoder. Null for any other, damaged ones too."""
    if not content.startswith(PNG_START) or len(content) < PNG_HEADER:
        return None
    width, height, depth, colors, *others, checksum = struct.unpack_from(">IIBBBBBI", content, len(PNG_START))
    is_whole = checksum == zlib.crc32(content[len(PNG_START) - 4 : PNG_HEADER - 4])
    if depth != 8 or colors not in PNG_MODES or any(others) or not is_whole:  # others: interlacing, and zeros
        return None
    _check_size(width, height)
    if not width * height:
        return None
    parts, place = [], PNG_HEADER
    try:
        while True:
            length, name = struct.unpack_from(">I4s", content, place)
            end = place + 8 + length
            if name == b"IEND":
                break
            if name != b"IDAT" or zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
                return None
            parts.append(content[place + 8 : end])
            place = end + 4
        mode = PNG_MODES[colors]
        image = Image.frombytes(mode, (width, height), b"".join(parts), "zip", mode, 0)
    except (struct.error, ValueError, OSError):
        return None
    return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, -1)


def plain_jpeg(content: bytes, size: int) -> Images | None:
    """(height, width, 1 or 3) of a whole JPEG in grey or colour that is not turned, several times as fast as by
    Pillow where it is small, and with the same pixels: one that is much larger than `size` is halved too. Null for any
    other, damaged ones too."""
    if not content.startswith(b"\xff\xd8\xff") or JPEG_METADATA in content:
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if colors not in JPEG_MODES or width * height > MOST_PIXELS:
            return None
        fraction = max(n for n in (1, 2, 4, 8) if n == 1 or n * DRAFT * size <= min(height, width))
        least = -(-height // fraction), -(-width // fraction)
        found: Images = simplejpeg.decode_jpeg(content, JPEG_MODES[colors], min_height=least[0], min_width=least[1])
    except ValueError:
        return None
    return found


def pixels(image: Image.Image) -> Images:
    """uint8 (height, width, 1 or 3) as a viewer shows it: upright, on white where transparent, the first frame."""
    image.load()
    if not ORIENTED.isdisjoint(image.info):
        image = ImageOps.exif_transpose(image)
    is_grey, is_palette = image.mode in GREY_MODES, image.mode == "P"
    if image.mode.startswith("I"):  # 16 bits
        values = np.asarray(image, np.float32)
        levels = np.rint(values / 257).clip(0, 255).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            levels[values == clear] = 255
        return levels[..., None]
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode in ("L", "RGB"):
        array = np.asarray(image)
        return array[..., None] if is_grey else array
    array = np.asarray(image.convert("RGB"))
    if is_palette:
        is_grey = bool((array == array[..., :1]).all())
    return array[..., :1] if is_grey else array


def reason(error: Exception) -> str:
    """Why a file can't be read, on one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no PNG, JPEG, WebP, BMP or GIF"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def decode_block(paths: Sequence[str], settings: Settings) -> Block:
    """Decode files, whatever they hold."""
    images: list[Images] = []
    taken, refused = [], {}
    for index, path in enumerate(paths):
        try:
            images.append(decode(path, settings))
            taken.append(index)
        except Exception as error:  # damaged bytes make the decoders stumble in many ways
            refused[index] = reason(error)
    shape = (settings.size, settings.size, max((image.shape[2] for image in images), default=settings.channels or 1))
    block = np.empty((len(images), *shape), np.uint8)
    for image, place in zip(images, block, strict=True):
        place[:] = image  # grey among RGB is repeated
    return Block(block, taken, refused)


# Between two processes: READY first, then a line of JSON there, a line of JSON and the pixels back

READY = b"\n"


def ask(stream: BinaryIO, paths: Sequence[str], settings: Settings) -> None:
    """Send a request. Raises OSError where the other process is gone."""
    stream.write(json.dumps({"paths": paths, "settings": asdict(settings)}).encode() + b"\n")
    stream.flush()


def answer(stream: BinaryIO) -> Block:
    """Read an answer. Raises EOFError where the other process is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    header: dict[str, Any] = json.loads(line)
    images = np.empty(header["shape"], np.uint8)
    if stream.readinto(images.reshape(-1).data) != images.nbytes:  # type: ignore[attr-defined]
        raise EOFError
    return Block(images, header["taken"], {int(index): why for index, why in header["refused"].items()})


def serve(descriptors: Sequence[int]) -> None:
    """A worker for each of these sockets, forked from this process, which waits for their end."""
    for mine in descriptors:
        if os.fork() == 0:
            for other in descriptors:
                if other != mine:
                    os.close(other)
            with suppress(OSError), open(mine, "rb") as requests, open(mine, "wb", closefd=False) as answers:
                work(requests, answers)  # until nobody asks or reads any more
            os._exit(0)
    for descriptor in descriptors:
        os.close(descriptor)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def work(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    answers.write(READY)
    answers.flush()
    for line in requests:
        request = json.loads(line)
        block = decode_block(request["paths"], Settings(**request["settings"]))
        header = {"shape": block.images.shape, "taken": block.taken, "refused": block.refused}
        answers.write(json.dumps(header).encode() + b"\n")
        answers.write(block.images.reshape(-1).data)
        answers.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    serve([int(descriptor) for descriptor in sys.argv[1:]])
