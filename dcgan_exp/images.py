"""Pictures: grids of generated images, their animation, and the curves of a run.

Everything is returned as bytes, for the caller to write whole; equal input gives equal bytes. This module never
imports TensorFlow, and Matplotlib only where it draws.
"""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pixels = npt.NDArray[np.uint8]
Columns = Mapping[str, Sequence[float | None]]

GAP = 2  # pixels between two cells, before the enlargement
GAP_GREY = 128
LEAST_WIDTH = 256  # pixels of a grid's picture
MOST_PIXELS = 64_000_000  # of a picture that is read
MOST_FRAMES = 200  # of an animation
LAST_FRAME_MILLISECONDS = 1500
GREY_LEVELS = 32  # of an animation: a third fewer bytes, and no visible difference
GEOMETRY_KEY = "dcgan-exp grid"
GEOMETRY = "{} images of {} x {} pixels in {} columns, enlarged {} times"
GEOMETRY_PATTERN = re.compile(GEOMETRY.replace("{}", "([1-9][0-9]{0,7})"))


def to_uint8(images: npt.NDArray[Any]) -> Pixels:
    """Floats in [-1, 1], any shape -> uint8 of the same shape: (x + 1) * 127.5, rounded, clipped; not finite -> 0."""
    values = np.asarray(images, dtype=np.float32)
    values = np.clip(np.where(np.isfinite(values), values, -1), -1, 1)
    return np.asarray(np.rint((values + 1) * 127.5), dtype=np.uint8)


# Grids -------------------------------------------------------------------------------------------


def grid(images: Pixels, columns: int | None = None) -> Pixels:
    """uint8 images (n, h, w, c), n at least 1 and c 1 or 3 -> one picture, (H, W) grey or (H, W, 3), row by row.

    Mid-grey lines of 2 pixels lie between the cells; `columns` null makes it nearly square.
    """
    count, height, width, channels = images.shape
    columns = columns or math.isqrt(count - 1) + 1
    rows = math.ceil(count / columns)
    cells = np.full((rows * columns, height + GAP, width + GAP, channels), GAP_GREY, np.uint8)
    cells[:count, :height, :width] = images
    cells = cells.reshape(rows, columns, height + GAP, width + GAP, channels).swapaxes(1, 2)
    picture = cells.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
    return picture[..., 0] if channels == 1 else picture


def encode_png(picture: Pixels, text: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a PNG of a uint8 picture, (H, W) or (H, W, 3), with text chunks."""
    chunks = PngInfo()
    for key, value in (text or {}).items():
        chunks.add_text(key, value)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def grid_png(images: Pixels) -> bytes:
    """uint8 images (n, h, w, c) -> a PNG of their grid, at least 256 pixels wide by a whole enlargement.

    A text chunk holds the geometry, with which `read_grid` gets the images back.
    """
    picture = grid(images)
    factor = math.ceil(LEAST_WIDTH / picture.shape[1])
    count, height, width, _ = images.shape
    columns = (picture.shape[1] + GAP) // (width + GAP)
    geometry = GEOMETRY.format(count, width, height, columns, factor)
    return encode_png(picture.repeat(factor, axis=0).repeat(factor, axis=1), {GEOMETRY_KEY: geometry})


def read_grid(path: Path) -> Pixels:
    """The single uint8 images (n, h, w, c) of a file that `grid_png` made.

    The file may be a stranger's. Raises ValueError, of one line, for any other file.
    """
    picture, geometry = _decode(path)
    found = GEOMETRY_PATTERN.fullmatch(geometry)
    if not found:
        raise ValueError(f"{path} is not a grid of dcgan-exp: it doesn't say where its images lie")
    count, width, height, columns, factor = (int(number) for number in found.groups())
    rows = math.ceil(count / columns)
    down, across = height + GAP, width + GAP
    if picture.shape[:2] != ((rows * down - GAP) * factor, (columns * across - GAP) * factor):
        raise ValueError(f"{path} is not a grid of dcgan-exp: its size can't be that of {geometry}")
    small = picture[::factor, ::factor].reshape(rows * down - GAP, columns * across - GAP, -1)
    padded = np.pad(small, ((0, GAP), (0, GAP), (0, 0)))
    cells = padded.reshape(rows, down, columns, across, -1).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(rows * columns, down, across, -1)[:count, :height, :width])


def _decode(path: Path) -> tuple[Pixels, str]:
    """A PNG's picture, (H, W) or (H, W, 3), and its geometry chunk. Raises ValueError."""
    try:
        if not path.is_file():  # a pipe would never end
            raise ValueError("it is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels, too many")
                if image.mode not in ("L", "RGB"):
                    raise ValueError(f"it is neither grey nor RGB but {image.mode}")
                geometry = image.info.get(GEOMETRY_KEY, "")  # `text` would decode the whole file
                return np.asarray(image), str(geometry)
    except Exception as error:  # a damaged file makes Pillow raise nearly anything, SyntaxError included
        told = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} can't be read as a PNG: {told}") from error


# Animation ---------------------------------------------------------------------------------------


def animation_gif(frames: Sequence[tuple[int, Path]], milliseconds: int = 200) -> bytes:
    """A looping GIF of (iteration, PNG of a grid) pairs, each captioned with its iteration; the last is held longer.

    More than 200 frames are thinned evenly; the first and the last stay. Raises ValueError where there is no frame,
    a file can't be read or the pictures differ in size.
    """
    pictures = captioned_frames(frames)
    return encode_gif(pictures, [milliseconds] * (len(pictures) - 1) + [max(milliseconds, LAST_FRAME_MILLISECONDS)])


def captioned_frames(frames: Sequence[tuple[int, Path]]) -> list[Image.Image]:
    """The pictures of an animation, at most 200. Raises ValueError as `animation_gif` does."""
    if not frames:
        raise ValueError("an animation needs at least one grid")
    kept = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int))
    pictures = [_captioned(*frames[index]) for index in kept]
    for index, picture in zip(kept, pictures, strict=True):
        if picture.size != pictures[0].size:
            raise ValueError(f"{frames[index][1]} differs in size from {frames[0][1]}")
    return pictures


def encode_gif(pictures: Sequence[Image.Image], milliseconds: Sequence[int]) -> bytes:
    """A looping GIF of pictures, each shown for its own time."""
    file = io.BytesIO()
    options = {"save_all": True, "loop": 0, "optimize": True}
    pictures[0].save(file, "GIF", append_images=pictures[1:], duration=list(milliseconds), **options)
    return file.getvalue()


def _captioned(iteration: int, path: Path) -> Image.Image:
    picture = Image.fromarray(_decode(path)[0])
    text_height = min(max(picture.width // 18, 14), 32)
    canvas = Image.new(picture.mode, (picture.width, picture.height + 2 * text_height), "white")
    canvas.paste(picture)
    middle = (picture.width / 2, picture.height + text_height)
    font = ImageFont.load_default(text_height)
    ImageDraw.Draw(canvas).text(middle, f"iteration {iteration}", "black", font, anchor="mm")
    if canvas.mode == "L":
        return canvas.point([round(round(v / 255 * (GREY_LEVELS - 1)) / (GREY_LEVELS - 1) * 255) for v in range(256)])
    return canvas.quantize(dither=Image.Dither.NONE)


# Curves ------------------------------------------------------------------------------------------

# Okabe and Ito's colours, which the colour-blind can tell apart.
LINES = {
    "d_loss": ("discriminator", "#0072B2"),
    "g_loss": ("generator", "#D55E00"),
    "d_accuracy_real": ("on real", "#009E73"),
    "d_accuracy_fake": ("on generated", "#E69F00"),
    "d_accuracy": ("both", "#0072B2"),
    "kernel_classifier_distance": ("Kernel classifier distance (lower is better)", "#000000"),
    "frechet_classifier_distance": ("Fréchet classifier distance (lower is better)", "#000000"),
}
QUALITIES = ("kernel_classifier_distance", "frechet_classifier_distance")


def curves_png(metrics: Columns, title: str) -> bytes:
    """A PNG, 1200 x 900 pixels, of the losses and accuracies (percent) of metrics.csv against the iterations.

    `metrics` are columns of equal length; a value that is null or not finite leaves a hole. Each quality column that
    holds a number adds a panel of 225 pixels; its line runs from score to score, past the rows without one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: it takes half a second
    from matplotlib.figure import Figure

    qualities = [name for name in QUALITIES if np.isfinite(_values(metrics, name)).any()]
    figure = Figure(figsize=(8, 6 + 1.5 * len(qualities)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever MPLBACKEND says
    heights = [5, 4, *[2.5] * len(qualities)]
    losses, accuracies, *others = figure.subplots(len(heights), sharex=True, height_ratios=heights)
    _draw_losses(losses, metrics)
    _draw_accuracies(accuracies, metrics)
    for axes, name in zip(others, qualities, strict=True):
        _draw(axes, rows_with(metrics, name), LINES[name][0], [name])
    _draw_iterations([losses, accuracies, *others], metrics)
    title = " ".join(title.encode(errors="replace").decode().split())[:75]
    figure.suptitle(title, x=0.012, ha="left", fontsize=11, fontweight="bold", parse_math=False)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a title may hold letters that the font lacks
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def rows_with(metrics: Columns, name: str) -> Columns:
    """The iterations and values of a column, in the rows that have one."""
    rows = [pair for pair in zip(metrics["iteration"], metrics[name], strict=True) if pair[1] is not None]
    return {"iteration": [iteration for iteration, _ in rows], name: [value for _, value in rows]}


def _values(metrics: Columns, name: str) -> npt.NDArray[np.float64]:
    column = metrics.get(name) or [None] * len(metrics.get("iteration", ()))
    values = np.array([math.nan if value is None else value for value in column], np.float64)
    values[~np.isfinite(values)] = np.nan
    return np.clip(values, -1e30, 1e30)  # beyond it Matplotlib's margins overflow


def _draw(axes: "Axes", metrics: Columns, title: str, names: Sequence[str]) -> None:
    iterations = _values(metrics, "iteration")
    marker = "o" if len(iterations) <= 30 else "None"
    width = 1.6 if len(iterations) <= 500 else 0.8
    for name in names:
        label, color = LINES[name]
        lost = sum(value is not None and not math.isfinite(value) for value in metrics.get(name, ()))
        label += f" ({lost} not finite)" if lost else ""
        axes.plot(iterations, _values(metrics, name), color, marker=marker, markersize=4, linewidth=width, label=label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    if len(names) > 1:  # above the panel, where no curve can run through it
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=9, frameon=False, borderaxespad=0.1)


def _draw_losses(axes: "Axes", metrics: Columns) -> None:
    _draw(axes, metrics, "Loss", ["d_loss", "g_loss"])
    values = np.concatenate([_values(metrics, "d_loss"), _values(metrics, "g_loss")])
    sizes = np.abs(values[np.isfinite(values)])
    if sizes.any() and sizes.max() > 50 * np.median(sizes):
        axes.set_yscale("log" if np.nanmin(values) > 0 else "symlog")


def _draw_accuracies(axes: "Axes", metrics: Columns) -> None:
    _draw(axes, metrics, "Discriminator's accuracy (%)", ["d_accuracy_real", "d_accuracy_fake", "d_accuracy"])
    axes.axhline(50, color="#666666", linewidth=1, linestyle=":")
    axes.set_ylim(0, 105)
    axes.set_yticks(range(0, 101, 25))


def _draw_iterations(panels: Sequence["Axes"], metrics: Columns) -> None:
    iterations = _values(metrics, "iteration")
    panels[0].set_xlim(0, np.nanmax(iterations, initial=1) * 1.02)
    panels[0].locator_params(axis="x", integer=True)
    panels[0].xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel("iteration", fontsize=10)
    if not len(iterations):
        panels[0].set_yticks([])
        panels[0].text(0.5, 0.5, "no rows yet", transform=panels[0].transAxes, ha="center", color="#666666")
