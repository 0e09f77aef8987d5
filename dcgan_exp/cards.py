"""Model cards: what a generator is, learnt from and is good for, as Markdown beside an exported one."""

import re
from typing import Any

from dcgan_exp import index, runs

MARK = "<!-- dcgan-exp model card -->"
LICENCES = {
    "mnist": "MNIST (Yann LeCun, Corinna Cortes): CC BY-SA 3.0",
    "mnist_5k": "5,000 images of MNIST (Yann LeCun, Corinna Cortes): CC BY-SA 3.0",
    "fashion_mnist": "Fashion-MNIST (Zalando SE): MIT",
}
DRAW = "\n\nlatents = np.random.default_rng(1).standard_normal((16, {latent_dim}), np.float32)\n"
USES = {
    "keras": "import keras" + DRAW + 'images = keras.saving.load_model("{name}")(latents)',
    "savedmodel": "import tensorflow as tf" + DRAW + 'images = tf.saved_model.load("{name}").serve(latents)',
    "onnx": "import onnxruntime" + DRAW + 'session = onnxruntime.InferenceSession("{name}")\n'
    "images = session.run(None, {{session.get_inputs()[0].name: latents}})[0]",
    "tflite": "import tensorflow as tf" + DRAW + 'interpreter = tf.lite.Interpreter("{name}")\n'
    "given, made = interpreter.get_input_details()[0]['index'], interpreter.get_output_details()[0]['index']\n"
    "interpreter.resize_tensor_input(given, latents.shape)\n"
    "interpreter.allocate_tensors()\n"
    "interpreter.set_tensor(given, latents)\n"
    "interpreter.invoke()\n"
    "images = interpreter.get_tensor(made)",
}
SHOWN = ("model.name", "loss.name", "optimizer.name", "update.name", "regularizer.name", "augment.name", "ema.decay",
         "batch_size", "iterations", "latent_dim", "precision", "seed")  # fmt: skip


def model_card(run: runs.Run, kind: str, file: str, source: str, difference: float) -> str:
    """The card of one export. Text from the run folder is shown as code, so that it can't become Markdown."""
    entry = index.read_entry(run.folder)
    config, record = entry.config, entry.record
    size, channels = config.get("data.image_size"), config.get("data.channels")
    facts = record.get("data")
    facts = facts if isinstance(facts, dict) else {}
    name = facts.get("name") or config.get("data.name")
    lines = [
        MARK,
        f"# {_code(record.get('name') or 'DCGAN generator')}",
        "",
        f"Makes images of {_code(size)} x {_code(size)} pixels and {_code(channels)} channel(s) like those of "
        f"{_code(name)}, from {_code(config.get('latent_dim'))} normal random numbers each.",
        "",
        "![samples](samples.png)",
        "",
        "## Use",
        "",
        "```python",
        "import numpy as np",
        USES[kind].format(name=file, latent_dim=int(config["latent_dim"])),
        "```",
        "",
        "`images` are in [-1, 1], of shape (n, height, width, channels). 64 samples differ from the original's by "
        f"{difference:.1e} at most.",
        "",
        "## Data",
        "",
        f"- {_code(name)}, {_code(facts.get('size'))} images",
        f"- SHA-256 of images and labels: {_code(facts.get('fingerprint'))}",
        "",
        "## Training",
        "",
        f"- weights: {_code(source)}; the run is {_code(run.status)} at iteration {_code(record.get('iteration'))}",
        *(f"- {key.removesuffix('.name')}: {_code(config[key])}" for key in SHOWN if key in config),
        f"- the whole configuration: `config.yaml`; made with {_versions(record)}",
        "",
        "## Quality",
        "",
        *_quality(entry, source),
        "",
        "## Licence",
        "",
        f"- training images: {LICENCES.get(str(name), 'as their owner says')}",
        "- these weights: not stated; whoever hands them on states it here",
        "",
    ]
    return "\n".join(lines)


def _quality(entry: index.Entry, source: str) -> list[str]:
    """The scores of these very weights where the run has measured them, else the run's last and best."""
    columns = entry.run.metrics()
    at = int(found[1]) if (found := re.fullmatch(r"checkpoint (\d+)", source)) else None
    if source == runs.network_path(entry.folder, "generator_best").name and isinstance(
        best := entry.record.get("best"), dict
    ):
        at = best.get("iteration")
    rows = [row for row, iteration in enumerate(columns.get("iteration", [])) if iteration == at]
    own = {name: columns[name][rows[-1]] for name in runs.SCORES if rows and name in columns}
    if lines := [f"- {_code(name)}: {value:.4g} (iteration {at})" for name, value in own.items() if value is not None]:
        return lines
    measured = {name: value for name, value in entry.final.items() if not re.search("loss|accuracy|seconds", name)}
    if at is not None:
        lines.append(f"- not measured at iteration {at}, of which these weights are")
    lines += [f"- {_code(name)}: {value:.4g} (the run's last)" for name, value in measured.items()]
    lines += [f"- {_code(name)}: {entry.best[name][0]:.4g} (the run's best, iteration {entry.best[name][1]})"
              for name in measured if name in entry.best]  # fmt: skip
    told = [f"{name} {value:.4g}" for name, value in entry.final.items() if name in ("d_loss", "g_loss", "d_accuracy")]
    if not measured:
        lines.append("- not measured in this run")
    if told:
        lines.append(f"- last losses and accuracy, which do not rank GANs: {', '.join(told)}")
    return lines


def _versions(record: dict[str, Any]) -> str:
    versions = record.get("versions")
    pairs = versions.items() if isinstance(versions, dict) else ()
    return ", ".join(f"{_code(name)} {_code(version)}" for name, version in pairs) or "unknown versions"


def _code(value: object) -> str:
    text = " ".join(re.sub(r"[^\x20-\x7e\u00a0-\ud7ff]", "?", str(value)).split())[:200]
    return f"`{text.replace('`', chr(39)) or ' '}`"
