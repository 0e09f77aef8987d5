"""Which files of a run folder hold the generator that is asked for. This module never imports TensorFlow."""

from pathlib import Path

from dcgan_exp import runs


def candidates(run: runs.Run, checkpoint: str | None = None, raw: bool = False) -> list[Path]:
    """The files to read it from, the first that is intact. Raises RunError where there is none.

    `checkpoint` is an iteration, `best` or `last`; null is what the run ended with, or its newest checkpoint while it
    trains. `raw`: the weights as trained, where the run kept averaged ones too.
    """
    saved = (_saved(run, "generator_raw") if raw else []) or _saved(run, "generator")
    newest_first = runs.checkpoint_paths(run.folder)
    if checkpoint == "best":
        found = _saved(run, "generator_best")
        if raw and _saved(run, "generator_raw"):
            raise runs.RunError("--raw: the best generator is kept with its averaged weights only; leave it out")
    elif checkpoint in (None, "last"):
        # Before the end, the file of an earlier end may be older than the checkpoints.
        found = saved if saved and run.status == "finished" else [*newest_first, *saved]
    else:
        found = [path for path in newest_first if str(int(path.stem)) == checkpoint]
        if run.status == "finished" and checkpoint == str(run.record.get("iteration")):
            found += saved
    if not found:
        raise runs.RunError(_nothing(run, checkpoint))
    return found


def _saved(run: runs.Run, name: str) -> list[Path]:
    path = runs.network_path(run.folder, name)
    return [path] if path.exists() else []


def _nothing(run: runs.Run, checkpoint: str | None) -> str:
    if checkpoint in (None, "last"):
        return f"{run.folder} holds no generator yet: it is {run.status} at iteration {run.record.get('iteration', 0)}"
    there = [str(int(path.stem)) for path in reversed(runs.checkpoint_paths(run.folder))]
    there += ["best"] if _saved(run, "generator_best") else []
    there += ["last"] if there or _saved(run, "generator") else []
    return f"{run.folder} has no checkpoint {checkpoint}; there is {', '.join(there) or 'none'}"
