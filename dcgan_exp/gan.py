"""Two networks, two optimizers and the compiled step that trains them; no files, no printing."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgan_exp.config import Config, optimizer_arguments
from dcgan_exp.losses import LOSSES, THRESHOLDS
from dcgan_exp.models import Architecture, build_discriminator, build_generator, stock_copy

# What a random number is for. With the seed and the iteration it determines the number, whatever ran before.
BATCH, LATENTS, SAMPLES = 0, 1, 2

MEASURES = ("d_loss_real", "d_loss_fake", "g_loss", "d_accuracy_real", "d_accuracy_fake")


class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam with TensorFlow's fused kernel: the same update in one pass over each tensor."""

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Kingma & Ba 2015, with the bias corrections folded into the step as in their section 2."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value, tf.float32) + 1.0
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


OPTIMIZERS: dict[str, Callable[..., keras.Optimizer]] = {
    "adam": FusedAdam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


class GAN:
    """A generator and a discriminator in training.

    `images` are the training images, uint8 of shape (n, height, width, channels).
    """

    def __init__(self, config: Config, images: np.ndarray) -> None:
        self.config = config
        self.images = tf.constant(images)
        self.loss = LOSSES[config.loss.name]
        self.threshold = THRESHOLDS[config.loss.name]
        self.architecture = Architecture.of(config)
        self.generator = build_generator(self.architecture, fused=True)
        self.discriminator = build_discriminator(self.architecture, fused=True)
        self.generator_optimizer = self._optimizer("generator", self.generator)
        self.discriminator_optimizer = self._optimizer("discriminator", self.discriminator)
        self.update = UPDATES[config.update.name]

    def _optimizer(self, network: str, model: keras.Model) -> keras.Optimizer:
        arguments = optimizer_arguments(self.config.optimizer, network)
        optimizer = OPTIMIZERS[self.config.optimizer.name](**arguments)
        if self.config.precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        return optimizer

    @property
    def variables(self) -> dict[str, list[Any]]:
        """Everything that training changes, by owner: with the iteration it is the whole state of a run."""
        return {
            "generator": self.generator.variables,
            "discriminator": self.discriminator.variables,
            "generator_optimizer": self.generator_optimizer.variables,
            "discriminator_optimizer": self.discriminator_optimizer.variables,
        }

    def train(self, iteration: int, count: int) -> tuple[dict[str, float], int | None]:
        """Run iterations `iteration + 1` to `iteration + count`.

        Returns the last iteration's measures and the first iteration whose losses were not finite, at which it
        stopped, or null. Accuracies are in percent. The same weights result however the iterations are divided.
        """
        values, failed_at = self._train(tf.constant(iteration, tf.int64), tf.constant(count, tf.int64))
        measures = dict(zip(MEASURES, values.numpy().tolist(), strict=True))
        return _reported(measures), None if failed_at < 0 else int(failed_at)

    @tf.function(autograph=False, reduce_retracing=True)
    def _train(self, iteration: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        last = iteration + count

        def one_iteration(done: tf.Tensor, _: tf.Tensor, failed_at: tf.Tensor) -> tuple[tf.Tensor, ...]:
            now = done + 1
            values = self.update(self, self.real_images(now), self.latents(now))
            return now, values, tf.where(tf.reduce_all(tf.math.is_finite(values)), failed_at, now)

        _, values, failed_at = tf.while_loop(
            lambda done, _, failed_at: (done < last) & (failed_at < 0),
            one_iteration,
            (iteration, tf.zeros(len(MEASURES)), tf.constant(-1, tf.int64)),
            parallel_iterations=1,
        )
        return values, failed_at

    def real_images(self, iteration: tf.Tensor) -> tf.Tensor:
        """The iteration's batch, drawn uniformly with replacement; float32 in [-1, 1]."""
        indices = tf.random.stateless_uniform(
            [self.config.batch_size], self._seed(BATCH, iteration), 0, self.images.shape[0], tf.int32, alg="philox"
        )
        return tf.cast(tf.gather(self.images, indices), tf.float32) / 127.5 - 1.0

    def latents(self, iteration: tf.Tensor) -> tf.Tensor:
        """The iteration's latents, N(0, 1), of shape (batch, latent_dim)."""
        shape = [self.config.batch_size, self.config.latent_dim]
        return tf.random.stateless_normal(shape, self._seed(LATENTS, iteration), alg="philox")

    def sample_latents(self, count: int) -> tf.Tensor:
        """The latents of the grids, (count, latent_dim): a function of sample_seed alone."""
        seed = [self.config.sample_seed, SAMPLES]
        return tf.random.stateless_normal([count, self.config.latent_dim], seed, alg="philox")

    def is_finite(self) -> bool:
        """Whether no trainable weight is NaN or infinite."""
        return bool(self._is_finite())

    @tf.function(autograph=False)
    def _is_finite(self) -> tf.Tensor:
        variables = self.generator.trainable_variables + self.discriminator.trainable_variables
        return tf.reduce_all([tf.math.is_finite(tf.reduce_sum(variable.value)) for variable in variables])

    def _seed(self, purpose: int, iteration: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.constant(self.config.seed, tf.int64), iteration * 16 + purpose])

    @tf.function(autograph=False, reduce_retracing=True)
    def generate(self, latents: tf.Tensor) -> tf.Tensor:
        """Images (n, height, width, channels) in [-1, 1] of the generator in inference mode."""
        return self.generator(latents, training=False)

    def stock_networks(self) -> dict[str, keras.Model]:
        """Copies of both networks that hold Keras' own layers only."""
        return {
            "generator": stock_copy(self.generator, build_generator, self.architecture),
            "discriminator": stock_copy(self.discriminator, build_discriminator, self.architecture),
        }

    def descend(self, network: str, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """One optimizer step of one network along a loss that the tape has recorded."""
        optimizer: keras.Optimizer = getattr(self, f"{network}_optimizer")
        variables = getattr(self, network).trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    def accuracy(self, logits: tf.Tensor, real: bool) -> tf.Tensor:
        """The fraction of images that D judges rightly."""
        right = logits > self.threshold if real else logits <= self.threshold
        return tf.reduce_mean(tf.cast(right, tf.float32))


def _reported(measures: dict[str, float]) -> dict[str, float]:
    real, fake = 100 * measures["d_accuracy_real"], 100 * measures["d_accuracy_fake"]
    return {
        "d_loss": (measures["d_loss_real"] + measures["d_loss_fake"]) / 2,
        "g_loss": measures["g_loss"],
        "d_accuracy": (real + fake) / 2,
        "d_accuracy_real": real,
        "d_accuracy_fake": fake,
    }


def book_update(gan: GAN, real_images: tf.Tensor, latents: tf.Tensor) -> tf.Tensor:
    """The listing's three separate updates. Returns the values of MEASURES.

    The fakes that D learns from come from the generator in inference mode; G's own come in training mode, from
    the same latents.
    """
    generated_images = gan.generator(latents, training=False)
    losses, accuracies = [], []
    for images, loss_of, real in ((real_images, gan.loss.real, True), (generated_images, gan.loss.generated, False)):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            _watch(tape, gan.discriminator)
            logits = gan.discriminator(images, training=True)
            loss = loss_of(logits)
            scaled_loss = gan.discriminator_optimizer.scale_loss(loss)
        gan.descend("discriminator", tape, scaled_loss)
        losses.append(loss)
        accuracies.append(gan.accuracy(logits, real))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        _watch(tape, gan.generator)
        logits = gan.discriminator(gan.generator(latents, training=True), training=True)
        g_loss = gan.loss.generator(logits)
        scaled_loss = gan.generator_optimizer.scale_loss(g_loss)
    gan.descend("generator", tape, scaled_loss)
    return tf.stack([*losses, g_loss, *accuracies])


def shared_update(gan: GAN, real_images: tf.Tensor, latents: tf.Tensor) -> tf.Tensor:
    """One generator pass, in training mode, for both networks. Returns the values of MEASURES.

    D takes one step on the mean of its real and its fake loss; then G's gradient flows through the updated D.
    """
    with tf.GradientTape(watch_accessed_variables=False) as generator_tape:
        _watch(generator_tape, gan.generator)
        generated_images = gan.generator(latents, training=True)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        _watch(tape, gan.discriminator)
        # Separate passes, so that batch normalisation does not mix real and generated images.
        real_logits = gan.discriminator(real_images, training=True)
        generated_logits = gan.discriminator(generated_images, training=True)
        real_loss, generated_loss = gan.loss.real(real_logits), gan.loss.generated(generated_logits)
        scaled_loss = gan.discriminator_optimizer.scale_loss((real_loss + generated_loss) / 2)
    gan.descend("discriminator", tape, scaled_loss)
    with generator_tape:
        g_loss = gan.loss.generator(gan.discriminator(generated_images, training=True))
        scaled_loss = gan.generator_optimizer.scale_loss(g_loss)
    gan.descend("generator", generator_tape, scaled_loss)
    accuracies = [gan.accuracy(real_logits, True), gan.accuracy(generated_logits, False)]
    return tf.stack([real_loss, generated_loss, g_loss, *accuracies])


def _watch(tape: tf.GradientTape, network: keras.Model) -> None:
    # Only these: the other network's weight gradients are never computed.
    for variable in network.trainable_variables:
        tape.watch(variable.value)


UPDATES: dict[str, Callable[[GAN, tf.Tensor, tf.Tensor], tf.Tensor]] = {"book": book_update, "shared": shared_update}
