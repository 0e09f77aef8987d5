"""The file that holds the whole state of a run: named arrays and facts, under a checksum.

It is a plain safetensors file (https://github.com/huggingface/safetensors), which holds numbers and text only, so a
stranger's is safe to read. Its metadata hold the facts, and the SHA-256 of the file itself with zeros in that place:
no bit of the file can change unseen.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from dcgan_exp import runs
from dcgan_exp.config import Config, from_mapping

FORMAT = "dcgan-exp checkpoint 1"
METRICS = "metrics"  # the array beside the variables that holds the rows so far
NO_DIGEST = "0" * 64

Arrays = dict[str, NDArray[Any]]


class DamageError(Exception):
    """A file that is not the checkpoint it was written as. Its text is one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after an iteration."""

    iteration: int
    seconds: float  # of training so far
    measures: dict[str, float]  # the last ones
    config: dict[str, Any]
    record: dict[str, Any]  # run.json at that instant
    grids: dict[int, str]  # SHA-256 of each grid's file
    log_bytes: int  # the length of run.log
    metrics: bytes  # metrics.csv
    arrays: Arrays  # every variable

    def typed_config(self) -> Config:
        """The experiment. Raises ConfigError."""
        return from_mapping(self.config)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole, or leave what is there."""
    runs.write_whole(path, encode(checkpoint))


def encode(checkpoint: Checkpoint) -> bytes:
    """The file's bytes; equal checkpoints give equal ones."""
    facts = {name: getattr(checkpoint, name) for name in FACTS}
    arrays = {**checkpoint.arrays, METRICS: np.frombuffer(checkpoint.metrics, np.uint8)}
    metadata = {FORMAT: json.dumps({"sha256": NO_DIGEST, **facts}, sort_keys=True)}
    content = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()}, metadata)
    return _with_digest(content, NO_DIGEST, hashlib.sha256(content).hexdigest())


def _with_digest(content: bytes, old: str, new: str) -> bytes:
    mark = rb"\"sha256\": \""  # as it stands in JSON within JSON, where no other text can look like it
    return content.replace(mark + old.encode(), mark + new.encode(), 1)


def load(path: Path) -> Checkpoint:
    """Read a file that may be damaged or a stranger's. Raises DamageError."""
    try:
        content = runs.read_file(path, runs.MOST_CHECKPOINT_BYTES)
        checkpoint = decode(content)
        if int(path.stem) != checkpoint.iteration:
            raise ValueError(f"it holds iteration {checkpoint.iteration}")
    except Exception as error:  # damaged bytes make the parsers stumble in many ways
        raise DamageError(f"{path} is damaged: {str(error).partition(chr(10))[0]}") from error
    return checkpoint


def decode(content: bytes) -> Checkpoint:
    """The checkpoint that `encode` was given. Raises nearly anything for any other bytes."""
    size = int.from_bytes(content[:8], "little")
    if not 0 < size <= len(content) - 8:
        raise ValueError(f"it is cut off at {len(content)} bytes")
    facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][FORMAT])
    digest = str(facts["sha256"])
    if hashlib.sha256(_with_digest(content, digest, NO_DIGEST)).hexdigest() != digest:
        raise ValueError("its checksum differs")
    arrays: Arrays = safetensors.numpy.load(content)
    checked: dict[str, Any] = {name: convert(facts[name]) for name, convert in FACTS.items()}
    return Checkpoint(metrics=arrays.pop(METRICS).tobytes(), arrays=arrays, **checked)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no mapping")
    return value


# Each fact with what checks it on reading, since the file may be a stranger's.
FACTS = {
    "iteration": _count,
    "seconds": _number,
    "measures": lambda value: {name: _number(number) for name, number in _mapping(value).items()},
    "config": _mapping,
    "record": _mapping,
    "grids": lambda value: {int(iteration): str(digest) for iteration, digest in _mapping(value).items()},
    "log_bytes": _count,
}


def differences(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> list[str]:
    """The names whose arrays differ in type, shape or any bit, or that only one has."""
    return sorted(
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or _bits(first[name]) != _bits(second[name])
    )


def _bits(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()
