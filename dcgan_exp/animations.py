"""Moving pictures for other programs: the way through latent space, and films of a run's grids."""

import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_exp.images import LEAST_WIDTH, Pixels, encode_gif, encode_png, grid

STRIP_COLUMNS = 12  # images in a line of a walk's picture, where it takes several lines
HELD_MILLISECONDS = 800  # at both ends of a walk
FILM_SECONDS_HELD = 1.5  # on the last frame of a film


class FilmError(Exception):
    """A film that can't be made here. Its text is one line."""


def walk_png(images: Pixels) -> bytes:
    """uint8 (steps, n, h, w, c) -> a PNG with a line for each of the n walks; a single long walk takes several."""
    steps, walks = images.shape[:2]
    lines = math.ceil(steps / STRIP_COLUMNS)
    columns = math.ceil(steps / lines) if walks == 1 else steps
    picture = grid(np.concatenate(images.swapaxes(0, 1)), columns)
    factor = math.ceil(LEAST_WIDTH * 2 / picture.shape[1])
    return encode_png(picture.repeat(factor, axis=0).repeat(factor, axis=1))


def walk_gif(images: Pixels, milliseconds: int = 100) -> bytes:
    """uint8 (steps, n, h, w, c) -> a looping GIF there and back, the n walks side by side."""
    there = [grid(step) for step in images]
    factor = math.ceil(LEAST_WIDTH / there[0].shape[1])
    frames = [Image.fromarray(picture.repeat(factor, axis=0).repeat(factor, axis=1)) for picture in there]
    times = [HELD_MILLISECONDS, *[milliseconds] * (len(frames) - 2), HELD_MILLISECONDS][: len(frames)]
    return encode_gif(frames + frames[-2:0:-1], times + times[-2:0:-1])


def write_film(pictures: Sequence[Image.Image], path: Path, frames_a_second: float = 5.0) -> None:
    """An MP4 that plays everywhere (H.264, 4:2:0), by the program ffmpeg. Raises FilmError."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise FilmError("MP4 needs the program ffmpeg (apt install ffmpeg); a name that ends in .gif needs nothing")
    width, height = (size + size % 2 for size in pictures[0].size)  # 4:2:0 has no odd sizes
    still = [pictures[-1]] * round(FILM_SECONDS_HELD * frames_a_second)
    frames = []
    for picture in [*pictures, *still]:
        canvas = Image.new("RGB", (width, height), "white")
        canvas.paste(picture.convert("RGB"))
        frames.append(canvas.tobytes())
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frames_a_second), "-i", "-"]
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    done = subprocess.run(  # noqa: S603  no shell, and the path is an argument of its own
        [program, "-loglevel", "error", "-y", *source, *target],
        input=b"".join(frames),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise FilmError(f"ffmpeg failed: {done.stderr.decode(errors='replace').strip().rpartition(chr(10))[2]}")
