"""Folders of image files as one array, decoded once.

All the images below a folder are decoded, by as many processes as there are cores, into a file of the user's cache
folder, from which they are mapped into memory: a folder larger than memory can be learnt, and all runs share one
copy. The cache may be deleted at any time. The folder itself is only ever read.

Links are followed, but for those to a folder around this one; a folder that is reached twice is read once, at the path
that sorts first.
"""

import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dcgan_exp import console, decoding
from dcgan_exp.config import ConfigError, DataConfig
from dcgan_exp.decoding import SUFFIXES, Settings
from dcgan_exp.decoding_processes import Decoders
from dcgan_exp.image_arrays import Images, Labels, fingerprint
from dcgan_exp.user_cache import cache_folder

RECIPE = 2  # part of a cache entry's name: a change of the decoding makes the old ones unused
SHOWN = 5  # unreadable files in the one line that tells of them


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """What a folder holds."""

    images: Images  # (n, size, size, channels), mapped from the cache; in the order of the paths' bytes
    labels: Labels | None  # (n,) the position of the class folder among the sorted ones; null of a flat folder
    fingerprint: str  # of images and labels
    skipped: list[str]  # a line for each file that could not be read
    warning: str | None  # one line, where something was skipped or changed


def read(path: Path, config: DataConfig) -> ImageFolder:
    """All images at and below a folder. Raises ConfigError."""
    if not os.path.isdir(path):
        raise ConfigError("data.path", shown(str(path)), "there is no such folder")
    with Decoders() as decoders:
        if not _was_decoded(path):
            with suppress(OSError):  # it is told when they are needed
                decoders.start()  # they take a while: meanwhile the files are listed
        return _read(path, config, decoders)


def _read(path: Path, config: DataConfig, decoders: Decoders) -> ImageFolder:
    settings = Settings(config.image_size, config.channels, config.crop)
    listing = walk(path)
    if len(listing.files) < 2:
        found = ("only one image" if listing.files else "no image") + listing.others_told()
        others = f", but {_told(listing.refused)}" if listing.refused else ""
        kinds = f"at least 2 files that end in {', '.join(SUFFIXES)} are needed"
        raise ConfigError("data.path", shown(str(path)), f"there is {found} in it{others}; {kinds}")
    entry = cache_folder("images") / _key(listing, settings)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _locked(entry):
            folder = _open(entry, path) or _as_left_to_the_files(path, listing, settings)
            folder = folder or _fill(entry, path, listing, settings, decoders)
    except RuntimeError as error:
        raise ConfigError("data.path", shown(str(path)), str(error)) from error
    except OSError as error:
        needed = len(listing.files) * settings.size**2 * (settings.channels or 3) / 1e6
        raise ConfigError(
            "data.path", shown(str(path)),
            f"its images, at most {needed:,.0f} MB once decoded, can't be kept in {entry.parent} "
            f"({decoding.reason(error)}): make room, or set XDG_CACHE_HOME to another folder",
        ) from error  # fmt: skip
    if folder.skipped and config.on_bad_file == "fail":
        raise ConfigError("data.on_bad_file", "fail", f"{_told_lines(folder.skipped)}; skip leaves them out")
    return folder


def shown(path: str) -> str:
    """A path on one line, whatever bytes it is made of."""
    readable = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable)


# Walk --------------------------------------------------------------------------------------------


class File(NamedTuple):
    """A file that may hold an image."""

    path: str  # relative to the folder
    identity: tuple[int, ...]  # changes with the content

    @property
    def top_folder(self) -> str:
        """The folder at the top that it lies in; empty where it lies at the top itself."""
        top, _, rest = self.path.partition(os.sep)
        return top if rest else ""


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, in the order of the paths' bytes."""

    files: list[File]
    folders: list[File]
    refused: dict[str, str]  # path -> why it can't be read
    others: Counter[str]  # the endings of files that are left alone, lower case, and how many have each

    def others_told(self) -> str:
        """A parenthesis about the files that are left alone; empty where there are none."""
        if not self.others:
            return ""
        kinds = ", ".join(shown(ending or "no ending") for ending, _ in self.others.most_common(SHOWN))
        return f" (files with other endings are left alone: {self.others.total():,}, {kinds})"


def walk(root: Path) -> Listing:
    """Every file below a folder that is named like an image. Names that begin with a dot are left out."""
    files: list[File] = []
    folders: list[File] = []
    refused: dict[str, str] = {}
    others: Counter[str] = Counter()
    around = {(status.st_dev, status.st_ino) for status in map(os.stat, root.resolve().parents)}
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(root / folder)
            if (status.st_dev, status.st_ino) in seen:  # a second link to it, or a circle of links
                continue
            if (status.st_dev, status.st_ino) in around:  # it would bring in what lies beside the folder
                refused[folder] = "it leads to a folder around this one"
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.append(File(folder, _identity(status)))
            with os.scandir(root / folder) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name), reverse=True)
        except OSError as error:
            refused[folder] = decoding.reason(error)
            continue
        prefix = folder + os.sep if folder else ""
        for entry in found:
            name = entry.name
            if name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    waiting.append(prefix + name)
                elif name.lower().endswith(SUFFIXES):
                    files.append(File(prefix + name, _identity(entry.stat())))
                elif entry.is_file():
                    others[os.path.splitext(name)[1].lower()] += 1
            except OSError as error:
                refused[prefix + name] = decoding.reason(error)
    return Listing(sorted(files, key=lambda file: os.fsencode(file.path)), folders, refused, others)


def changes(listing: Listing, root: Path) -> int:
    """How many of the files and folders that were listed have changed since; in a folder, what it holds by name."""
    base = os.path.join(root, "")
    return sum(_identity_now(base + file.path) != file.identity for file in (*listing.folders, *listing.files))


def _identity_now(path: str) -> tuple[int, ...] | None:
    try:
        return _identity(os.stat(path))
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # The time of the last change of the file's own record can't be set back, unlike that of its content.
    return (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _classes(files: Sequence[File]) -> list[str]:
    """The names of the class folders; none where they are fewer than two, or files lie beside them."""
    names = list(dict.fromkeys(file.top_folder for file in files))
    return names if len(names) > 1 and "" not in names else []


# Cache -------------------------------------------------------------------------------------------


def _key(listing: Listing, settings: Settings) -> str:
    digest = hashlib.sha256(json.dumps([RECIPE, *decoding.DECODERS, asdict(settings), listing.refused]).encode())
    for file in listing.files:
        digest.update(os.fsencode(file.path) + b"\0" + repr(file.identity).encode())
    return digest.hexdigest()[:32]


@contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """One process at a time decodes into an entry; the others wait for it."""
    with open(entry.with_suffix(".lock"), "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("another process is decoding the same images: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _was_decoded(path: Path) -> bool:
    """Whether some entry is of this folder, as it is or as it was once."""
    for facts in cache_folder("images").glob("*/facts.json"):
        with suppress(OSError, ValueError, LookupError, TypeError):  # damaged, or being made
            if json.loads(facts.read_bytes())["folder"] == str(path.absolute()):
                return True
    return False


def _open(entry: Path, path: Path) -> ImageFolder | None:
    """What was decoded before; null where that is not there, or damaged."""
    try:
        facts = json.loads((entry / "facts.json").read_bytes())
        if (entry / "images.raw").stat().st_size != math.prod(facts["shape"]):
            return None
        images = np.memmap(entry / "images.raw", np.uint8, "r", shape=tuple(facts["shape"]))
        labels = np.load(entry / "labels.npy", allow_pickle=False) if facts["classes"] else None
        return ImageFolder(images, labels, facts["fingerprint"], facts["skipped"], _warning(path, facts))
    except Exception:  # absent; or damaged, which makes the parsers stumble in many ways
        return None


def _as_left_to_the_files(path: Path, listing: Listing, settings: Settings) -> ImageFolder | None:
    """The entry that was made while the channels were left to the files, where they came out as is asked for."""
    folder = _open(cache_folder("images") / _key(listing, replace(settings, channels=None)), path)
    return folder if folder and folder.images.shape[3] == settings.channels else None


def _fill(entry: Path, path: Path, listing: Listing, settings: Settings, decoders: Decoders) -> ImageFolder:
    """Decode into an entry that appears whole or not at all. Raises OSError and ConfigError."""
    for remains in (*entry.parent.glob(f"{entry.name}.*.part"), entry):  # of a killed process; of what was damaged
        shutil.rmtree(remains, ignore_errors=True)
    if shutil.disk_usage(entry.parent).free < len(listing.files) * settings.size**2 * (settings.channels or 1):
        raise OSError("the disk is too full")
    # A name of its own: after the cache was deleted meanwhile, another process may hold another lock.
    part = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", suffix=".part", dir=entry.parent))
    try:
        refused = dict(listing.refused)
        shape = _decode(part / "images.raw", path, listing, settings, decoders, refused)
        if shape[0] < 2:
            raise ConfigError("data.path", shown(str(path)), f"fewer than 2 images can be read: {_told(refused)}")
        taken = [file for file in listing.files if file.path not in refused]
        classes = _classes(taken)
        labels = np.array([classes.index(file.top_folder) for file in taken], np.int64) if classes else None
        if labels is not None:
            np.save(part / "labels.npy", labels)
        with ThreadPoolExecutor(1) as executor:
            changed = executor.submit(changes, listing, path)
            digest = fingerprint(np.memmap(part / "images.raw", np.uint8, "r", shape=shape), labels)
        facts = {
            "folder": str(path.absolute()),
            "shape": shape,
            "classes": classes,
            "skipped": [f"{shown(file)}: {why}" for file, why in refused.items()],
            "fingerprint": digest,
            "changed": changed.result(),
        }
        (part / "facts.json").write_text(json.dumps(facts))
        _settle(part)
        part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    folder = _open(entry, path)
    if folder is None:
        raise OSError(f"{entry} was removed or changed while it was made")
    return folder


def _decode(
    target: Path, root: Path, listing: Listing, settings: Settings, decoders: Decoders, refused: dict[str, str]
) -> tuple[int, ...]:
    """Write the pixels of all files that can be read, and tell of the others. Returns the shape of the array."""
    count, channels, files = 0, settings.channels or 1, listing.files
    console.say(f"decoding {len(files):,} images of {shown(str(root))}, once{listing.others_told()}")
    with console.progress("decoding", len(files)) as advance, open(target, "w+b", buffering=0) as file:
        done = 0
        for block in decoders.decode(root, [file.path for file in files], settings):
            images = block.images
            if len(images) and images.shape[3] > channels:  # the first that is not grey
                channels = images.shape[3]
                _widen(file, channels)
            if len(images):
                _write(file, np.repeat(images, channels, axis=3) if images.shape[3] < channels else images)
            refused.update({files[done + index].path: why for index, why in block.refused.items()})
            count += len(images)
            done += len(block.taken) + len(block.refused)
            advance(done)
    return count, settings.size, settings.size, channels


def _write(file: BinaryIO, images: Images) -> None:
    content = memoryview(np.ascontiguousarray(images).reshape(-1).data)
    while content:
        content = content[file.write(content) :]


def _widen(file: BinaryIO, channels: int) -> None:
    """Repeat every byte of a file, from its end to its start."""
    step = 2**20
    for start in reversed(range(0, file.tell(), step)):
        file.seek(start)
        values = np.frombuffer(file.read(step), np.uint8).repeat(channels)
        file.seek(start * channels)
        _write(file, values)
    file.seek(0, os.SEEK_END)


def _settle(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _warning(path: Path, facts: dict[str, Any]) -> str | None:
    told = []
    if facts["skipped"]:
        told.append(f"{_told_lines(facts['skipped'])}, left out")
    if facts["changed"]:
        told.append(f"{facts['changed']:,} files or folders changed while they were read")
    return f"{shown(str(path))}: {'; '.join(told)}" if told else None


def _told(refused: dict[str, str]) -> str:
    return _told_lines([f"{shown(path) or '.'}: {why}" for path, why in refused.items()])


def _told_lines(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
    return f"{len(lines):,} can't be read ({'; '.join(lines[:SHOWN])}{more})"
