"""Train on one device and on two logical ones of the processor, in a process of its own: JSON to stdout.

    python tests/two_devices.py FOLDER OVERRIDES...

FOLDER gets a run that two devices have trained; `-` is none.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from dcgan_exp import devices, training
from dcgan_exp.config import compose
from dcgan_exp.data import load
from dcgan_exp.gan import GAN

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
folder, overrides = sys.argv[1], sys.argv[2:]
config = compose([*overrides, "devices=2"])
dataset = load(config.data)
training.configure_tensorflow(config)
one, found = GAN(config, dataset.images), {"one": [], "two": []}
with devices.team(config, dataset) as team:
    assert isinstance(team.gan, devices.DistributedGAN)
    for iteration, count in ((0, 1), (1, 3)):
        found["one"].append(one.train(iteration, count)[0])
        found["two"].append(team.train(iteration, count)[0])
    first, second = (GAN.state(replica) for replica in team.gan.replicas)
found["replicas_are_equal"] = all(np.array_equal(first[name], second[name]) for name in first)
alone = one.state()
found["names_are_equal"] = {n: (a.shape, str(a.dtype)) for n, a in first.items()} == {
    n: (a.shape, str(a.dtype)) for n, a in alone.items()
}
found["difference"] = {name: float(np.abs(first[name] - array).mean()) for name, array in alone.items()}
if folder != "-":
    found["status"] = training.train(config, dataset, Path(folder)).status
print(json.dumps(found))
