"""Generator and discriminator, built from the widths of the configuration."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgan_exp.config import DiscriminatorConfig, GeneratorConfig, ModelConfig, layer_plan


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused kernel: the same mathematics, one pass over the activations.

    For training only; a saved network holds the stock layer (see `stock_copy`). Statistics stay float32 in
    mixed precision, as in Keras.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(autocast=False, **arguments)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """(batch, height, width, channels) -> the same shape and type."""
        statistics = {} if training else {"mean": self.moving_mean.value, "variance": self.moving_variance.value}
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=training, **statistics
        )
        if training:
            # The kernel returns the unbiased variance; Keras' moving variance averages the biased one.
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
            variance *= (count - 1.0) / count
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign_sub((average.value - value) * (1.0 - self.momentum))
        return outputs


class Layers:
    """Makes the layers of one network: compute type, initial weights and normalisation are the same throughout.

    Each layer's initial weights are a function of (seed, network, position) alone.
    """

    def __init__(self, config: ModelConfig, precision: str, seed: int, network: int, fused: bool) -> None:
        self.stddev = config.initializer_stddev
        self.policy = precision
        self.entropy = (seed, network)
        self.fused = fused
        self.made = 0

    def next_seed(self) -> int:
        """A seed of its own for each layer."""
        self.made += 1
        return int(np.random.SeedSequence([*self.entropy, self.made]).generate_state(1)[0] >> 1)

    def _initializer(self) -> keras.Initializer:
        seed = self.next_seed()
        if self.stddev is None:
            return keras.initializers.GlorotUniform(seed)
        return keras.initializers.RandomNormal(stddev=self.stddev, seed=seed)

    def dense(self, units: int, **arguments: Any) -> keras.Layer:
        """A dense layer; float32 on request, where a network's output must keep its digits."""
        arguments.setdefault("dtype", self.policy)
        return keras.layers.Dense(units, kernel_initializer=self._initializer(), **arguments)

    def convolution(self, width: int, kernel_size: int, stride: int, transposed: bool = False) -> keras.Layer:
        """A (transposed) convolution with `same` padding."""
        kind = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
        return kind(
            width, kernel_size, stride, "same", dtype=self.policy, kernel_initializer=self._initializer()
        )

    def batch_normalization(self) -> keras.Layer:
        """Over all but the channels, with Keras' settings."""
        kind = FusedBatchNormalization if self.fused else keras.layers.BatchNormalization
        return kind(dtype=self.policy)

    def activation(self, kind: str, negative_slope: float = 0.0) -> keras.Layer:
        """`relu` or `leaky_relu`."""
        if kind == "relu":
            return keras.layers.ReLU(dtype=self.policy)
        return keras.layers.LeakyReLU(negative_slope, dtype=self.policy)


def build_generator(
    config: ModelConfig,
    *,
    latent_dim: int,
    image_size: int,
    channels: int,
    precision: str = "float32",
    seed: int = 0,
    fused: bool = False,
) -> keras.Model:
    """Latents (batch, latent_dim), N(0, 1) -> float32 images (batch, image_size, image_size, channels) in [-1, 1].

    `fused` takes the faster batch normalisation, for training. Radford et al. 2016, figure 1.
    """
    section: GeneratorConfig = config.generator
    widths, strides = layer_plan("generator", section, image_size)
    base = image_size // 2 ** strides.count(2)
    make = Layers(config, precision, seed, 0, fused)
    layers = [
        keras.layers.Input((latent_dim,), name="latents"),
        make.dense(widths[0] * base * base),
        keras.layers.Reshape((base, base, widths[0]), dtype=precision),
    ]
    if section.base_normalization:
        layers += [make.batch_normalization(), make.activation(section.activation, section.negative_slope)]
    for width, stride in zip(widths[1:], strides[:-1], strict=True):
        layers += [
            make.convolution(width, section.kernel_size, stride, transposed=True),
            make.batch_normalization(),
            make.activation(section.activation, section.negative_slope),
        ]
    layers += [
        make.convolution(channels, section.kernel_size, strides[-1], transposed=True),
        keras.layers.Activation("tanh", dtype="float32", name="images"),
    ]
    return keras.Sequential(layers, name="generator")


def build_discriminator(
    config: ModelConfig,
    *,
    image_size: int,
    channels: int,
    precision: str = "float32",
    seed: int = 0,
    fused: bool = False,
) -> keras.Model:
    """Images (batch, image_size, image_size, channels) in [-1, 1] -> float32 logits (batch, 1).

    The sigmoid that turns a logit into the probability of `real` is left to the loss, which is exact on logits.
    """
    section: DiscriminatorConfig = config.discriminator
    widths, strides = layer_plan("discriminator", section, image_size)
    make = Layers(config, precision, seed, 1, fused)
    layers: list[Any] = [keras.layers.Input((image_size, image_size, channels), name="images")]
    for position, (width, stride) in enumerate(zip(widths, strides, strict=True)):
        layers.append(make.convolution(width, section.kernel_size, stride))
        if section.normalization == "batch" and position > 0:
            layers.append(make.batch_normalization())
        layers.append(make.activation("leaky_relu", section.negative_slope))
        if section.dropout:
            layers.append(keras.layers.Dropout(section.dropout, seed=make.next_seed(), dtype=precision))
    layers += [keras.layers.Flatten(dtype=precision), make.dense(1, dtype="float32", name="logits")]
    return keras.Sequential(layers, name="discriminator")


def stock_copy(network: keras.Model, build: Callable[..., keras.Model], **arguments: Any) -> keras.Model:
    """The same network with Keras' own layers only, so that plain `keras.saving.load_model` opens it anywhere."""
    copy = build(fused=False, **arguments)
    copy.set_weights(network.get_weights())
    return copy
