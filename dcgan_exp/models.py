"""Generator and discriminator, built from the widths of the configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgan_exp import replicas
from dcgan_exp.config import Config, ModelConfig, layer_plan

LEAST_CHANNELS = 16  # of the larger images: for fewer the library's weight gradient is the faster one


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused kernel: the same mathematics, one pass over the activations.

    For training only; a saved network holds the stock layer (see `stock_copy`). Statistics stay float32 in
    mixed precision, as in Keras.

    `across_replicas`: whether several replicas normalise by the statistics of the whole batch, or each by its part's.
    """

    def __init__(self, across_replicas: bool = True, **arguments: Any) -> None:
        super().__init__(autocast=False, **arguments)
        self.across_replicas = across_replicas

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """(batch, height, width, channels) -> the same shape and type."""
        if training and self.across_replicas and replicas.count() > 1:
            return self._across_replicas(inputs)
        statistics = {} if training else {"mean": self.moving_mean.value, "variance": self.moving_variance.value}
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=training, **statistics
        )
        if training:
            # The kernel returns the unbiased variance; Keras' moving variance averages the biased one.
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
            variance *= (count - 1.0) / count
            self._average(replicas.mean([mean, variance]))
        return outputs

    def _across_replicas(self, inputs: tf.Tensor) -> tf.Tensor:
        # The fused kernel knows its own part of the batch only.
        values = tf.cast(inputs, tf.float32)
        moments = [tf.reduce_mean(values, [0, 1, 2]), tf.reduce_mean(tf.square(values), [0, 1, 2])]
        mean, mean_square = tf.unstack(replicas.mean(tf.stack(moments)))
        variance = tf.maximum(mean_square - tf.square(mean), 0.0)
        self._average([mean, variance])
        outputs = tf.nn.batch_normalization(values, mean, variance, self.beta.value, self.gamma.value, self.epsilon)
        return tf.cast(outputs, inputs.dtype)

    def _average(self, moments: list[tf.Tensor]) -> None:
        for average, value in zip((self.moving_mean, self.moving_variance), moments, strict=True):
            average.assign_sub((average.value - value) * (1.0 - self.momentum))


class ReplicaDropout(keras.layers.Dropout):
    """Keras' layer, in which each of several replicas takes its part of the whole batch's mask."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Any shape whose first axis is the batch -> the same shape and type."""
        if not training or replicas.count() == 1:
            return super().call(inputs, training)
        shape = [tf.shape(inputs)[0] * replicas.count(), *inputs.shape[1:]]
        mask = keras.random.dropout(tf.ones(shape, inputs.dtype), self.rate, seed=self.seed_generator)
        return inputs * replicas.own_part(mask)


class SpectralNormalization(keras.layers.SpectralNormalization):
    """Keras' wrapper, trained as in Miyato et al. 2018: the layer computes with W / sigma(W), and gradients pass
    through the division to W (their equation 12).

    Keras overwrites W with the quotient instead, in mixed precision with a rounded one, which loses small updates.
    For training only, like the fused batch normalisation.
    """

    def __init__(self, layer: keras.Layer, **arguments: Any) -> None:
        super().__init__(layer, autocast=False, **arguments)  # sigma is made of float32 weights

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What the layer makes of the inputs."""
        vector_u, kernel = self.normalized_weights()  # a step of power iteration, and W / sigma
        if training:
            self.vector_u.assign(vector_u)
        with keras.StatelessScope([(self.kernel, kernel)]):
            return self.layer(inputs)


class FastConv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' layer with a faster weight gradient in bfloat16, for stride 2.

    The library's bfloat16 weight gradient runs far below the speed of a matrix product of its size; here it is made
    of plain matrix products. For training only, like the fused batch normalisation.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> (batch, 2 height, 2 width, filters)."""
        outputs = _doubled(inputs, tf.convert_to_tensor(self.kernel))
        return tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))


class FastConv2D(keras.layers.Conv2D):
    """The same for the convolution; on images of an odd size it is Keras' own."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(batch, 2 height, 2 width, channels) -> (batch, height, width, filters)."""
        if inputs.shape[1] % 2 or inputs.shape[2] % 2 or inputs.shape[3] < LEAST_CHANNELS:
            return super().call(inputs)
        outputs = _halved(inputs, tf.convert_to_tensor(self.kernel))
        return tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))


Gradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@tf.custom_gradient
def _doubled(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    batch, height, width, _ = tf.unstack(tf.shape(inputs))
    shape = [batch, 2 * height, 2 * width, kernel.shape[2]]

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.nn.conv2d(upstream, kernel, 2, "SAME"), _kernel_gradient(upstream, inputs, kernel.shape[0])

    return tf.nn.conv2d_transpose(inputs, kernel, shape, 2, "SAME"), gradient


@tf.custom_gradient
def _halved(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_inputs = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(inputs), 2, "SAME")
        return of_inputs, _kernel_gradient(inputs, upstream, kernel.shape[0])

    return tf.nn.conv2d(inputs, kernel, 2, "SAME"), gradient


def _kernel_gradient(large: tf.Tensor, small: tf.Tensor, size: int) -> tf.Tensor:
    """(batch, 2 height, 2 width, c), (batch, height, width, d) -> the gradient of a (size, size, c, d) kernel.

    Tap (i, j) of the kernel meets pixel (2 y + i, 2 x + j) of the padded large side where it meets (y, x) of the
    small one. Two taps side by side are one matrix product: as columns, two neighbouring pixels lie in a row.
    """
    _, height, width, channels = large.shape
    height, width, groups, before = height // 2, width // 2, (size + 1) // 2, (size - 2) // 2
    padding = [before, 2 * (groups - 1) - before]
    padded = tf.pad(large, [[0, 0], padding, padding, [0, 0]])
    pairs = tf.reshape(padded, [-1, height + groups - 1, 2, width + groups - 1, 2 * channels])
    rows = tf.reshape(small, [-1, small.shape[-1]])
    taps = []
    for i in range(size):
        for j in range(0, size, 2):
            count = min(2, size - j) * channels
            columns = pairs[:, i // 2 : i // 2 + height, i % 2, j // 2 : j // 2 + width, :count]
            taps.append(tf.matmul(tf.reshape(columns, [-1, count]), rows, transpose_a=True))
    return tf.reshape(tf.concat(taps, 0), [size, size, channels, small.shape[-1]])


@dataclass(frozen=True)
class Architecture:
    """All that decides what the two networks look like and what they start from."""

    model: ModelConfig
    latent_dim: int
    image_size: int  # pixels, height and width
    channels: int
    precision: str = "float32"
    seed: int = 0
    batch_normalization: str = "synchronized"  # over replicas, or "per_replica"

    @classmethod
    def of(cls, config: Config) -> "Architecture":
        """The architecture of an experiment."""
        image_size, _, channels = config.data.image_shape
        return cls(
            config.model, config.latent_dim, image_size, channels, config.precision, config.seed,
            config.batch_normalization,
        )  # fmt: skip


class Layers:
    """Makes the layers of one network: compute type, initial weights and normalisation are the same throughout.

    Each layer's initial weights are a function of (seed, network, position) alone.
    """

    def __init__(self, architecture: Architecture, network: int, fused: bool) -> None:
        self.stddev = architecture.model.initializer_stddev
        self.policy = architecture.precision
        self.entropy = (architecture.seed, network)
        self.fused = fused
        self.across_replicas = architecture.batch_normalization == "synchronized"
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
        if self.fused and self.policy == "mixed_bfloat16" and stride == 2 and kernel_size > 1:
            if not transposed:
                kind = FastConv2D
            elif width >= LEAST_CHANNELS:
                kind = FastConv2DTranspose
        return kind(width, kernel_size, stride, "same", dtype=self.policy, kernel_initializer=self._initializer())

    def spectral(self, layer: keras.Layer) -> keras.Layer:
        """The layer with weights of spectral norm 1 (Miyato et al. 2018)."""
        kind = SpectralNormalization if self.fused else keras.layers.SpectralNormalization
        return kind(layer, name=layer.name, dtype=layer.dtype_policy)

    def normalization(self, kind: str) -> list[keras.Layer]:
        """What follows a convolution of the discriminator: nothing, or one layer."""
        if kind == "batch":
            return [self.batch_normalization()]
        # Over all of an image, so that images stay independent (Gulrajani et al. 2017, section 4).
        return [keras.layers.LayerNormalization(axis=[1, 2, 3], dtype=self.policy)] if kind == "layer" else []

    def batch_normalization(self) -> keras.Layer:
        """Over all but the channels, with Keras' settings."""
        if self.fused:
            return FusedBatchNormalization(self.across_replicas, dtype=self.policy)
        return keras.layers.BatchNormalization(dtype=self.policy)

    def dropout(self, rate: float) -> keras.Layer:
        """Zeros in training."""
        kind = ReplicaDropout if self.fused else keras.layers.Dropout
        return kind(rate, seed=self.next_seed(), dtype=self.policy)

    def activation(self, kind: str, negative_slope: float = 0.0) -> keras.Layer:
        """`relu` or `leaky_relu`."""
        if kind == "relu":
            return keras.layers.ReLU(dtype=self.policy)
        return keras.layers.LeakyReLU(negative_slope, dtype=self.policy)


def build_generator(architecture: Architecture, fused: bool = False) -> keras.Model:
    """Latents (batch, latent_dim), N(0, 1) -> float32 images (batch, image_size, image_size, channels) in [-1, 1].

    `fused` takes the faster batch normalisation, for training. Radford et al. 2016, figure 1.
    """
    section, precision = architecture.model.generator, architecture.precision
    widths, strides = layer_plan("generator", section, architecture.image_size)
    base = architecture.image_size // 2 ** strides.count(2)
    make = Layers(architecture, 0, fused)
    layers = [
        keras.layers.Input((architecture.latent_dim,), name="latents"),
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
        make.convolution(architecture.channels, section.kernel_size, strides[-1], transposed=True),
        keras.layers.Activation("tanh", dtype="float32", name="images"),
    ]
    return keras.Sequential(named_by_place(layers), name="generator")


def build_discriminator(architecture: Architecture, fused: bool = False) -> keras.Model:
    """Images (batch, image_size, image_size, channels) in [-1, 1] -> float32 logits (batch, 1).

    The sigmoid that turns a logit into the probability of `real` is left to the loss, which is exact on logits.
    """
    section, precision, size = architecture.model.discriminator, architecture.precision, architecture.image_size
    widths, strides = layer_plan("discriminator", section, size)
    make = Layers(architecture, 1, fused)
    is_spectral = section.normalization == "spectral"
    layers: list[Any] = [keras.layers.Input((size, size, architecture.channels), name="images")]
    for position, (width, stride) in enumerate(zip(widths, strides, strict=True)):
        convolution = make.convolution(width, section.kernel_size, stride)
        layers.append(make.spectral(convolution) if is_spectral else convolution)
        if position > 0:
            layers += make.normalization(section.normalization)
        layers.append(make.activation("leaky_relu", section.negative_slope))
        if section.dropout:
            layers.append(make.dropout(section.dropout))
    logits = make.dense(1, dtype="float32", name="logits")
    layers += [keras.layers.Flatten(dtype=precision), make.spectral(logits) if is_spectral else logits]
    network = keras.Sequential(named_by_place(layers), name="discriminator")
    for layer in network.layers:
        if isinstance(layer, keras.layers.SpectralNormalization):  # Keras starts it from unseeded numbers
            layer.vector_u.assign(keras.random.normal(layer.vector_u.shape, seed=make.next_seed()))
    return network


def named_by_place(layers: list[Any]) -> list[Any]:
    """The layers between input and output, with names that don't count what the process has built before.

    So equal networks are equal files, whichever process saves them, and when.
    """
    for place, layer in enumerate(layers[1:-1], start=1):
        for part in (layer, getattr(layer, "layer", None)):  # spectral normalisation wraps another
            if part is not None:
                part.name = f"{type(part).__name__.lower()}_{place}"
    return layers


def split_at_normalization(generator: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The generator as two networks in a row: what is the same in training and in inference mode, and the rest."""
    kinds = [isinstance(layer, keras.layers.BatchNormalization) for layer in generator.layers]
    place = kinds.index(True) if any(kinds) else len(kinds) - 1
    stem = keras.Sequential([keras.layers.Input(generator.input_shape[1:]), *generator.layers[:place]])
    head = keras.Sequential([keras.layers.Input(stem.output_shape[1:], dtype=stem.outputs[0].dtype)])
    for layer in generator.layers[place:]:
        head.add(layer)
    return stem, head


def stock_copy(
    weights: list[np.ndarray], build: Callable[[Architecture], keras.Model], architecture: Architecture
) -> keras.Model:
    """A network of these weights with Keras' own layers only, so that `keras.saving.load_model` opens it anywhere."""
    copy = build(architecture)
    copy.set_weights(weights)
    return copy


def stock_discriminator(trained: keras.Model, architecture: Architecture) -> keras.Model:
    """The same of a discriminator in training, with the weights that it computes with."""
    copy = stock_copy(trained.get_weights(), build_discriminator, architecture)
    for layer, stock_layer in zip(trained.layers, copy.layers, strict=True):
        if isinstance(layer, SpectralNormalization):
            stock_layer.kernel.assign(layer.normalized_weights()[1])
    return copy
