"""Two networks, two optimizers and the compiled step that trains them; no files, no printing."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgan_exp import replicas
from dcgan_exp.augmentation import adapted, augmented
from dcgan_exp.config import Config, ScheduleConfig, optimizer_arguments
from dcgan_exp.image_arrays import IN_MEMORY_BYTES
from dcgan_exp.losses import LOSSES, THRESHOLDS, Loss, PairLoss, discriminator_losses
from dcgan_exp.models import (
    Architecture,
    build_discriminator,
    build_generator,
    split_at_normalization,
    stock_copy,
    stock_discriminator,
)
from dcgan_exp.regularizers import REGULARIZERS

# What a random number is for. With the seed and the iteration it determines the number, whatever ran before.
BATCH, LATENTS, SAMPLES, MIXING, AUGMENT_REAL, AUGMENT_FAKE, AUGMENT_OWN, FLIP = range(8)
PURPOSES, STEPS = 16, 64  # room for more of them, and for the steps of D within an iteration

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

    `images` are the training images, uint8 of shape (n, *config.data.image_shape). `is_compiled`: whether XLA
    compiles the step, which it can where the images are TensorFlow's.
    """

    def __init__(self, config: Config, images: np.ndarray, is_compiled: bool = False) -> None:
        assert images.shape[1:] == config.data.image_shape
        self.config = config
        self.images = images if images.nbytes > IN_MEMORY_BYTES else tf.constant(images)
        self.is_compiled = is_compiled and isinstance(self.images, tf.Tensor)
        self.loss = LOSSES[config.loss.name](config.loss.one_sided_label_smoothing)
        self.threshold = THRESHOLDS[config.loss.name]
        self.architecture = Architecture.of(config)
        self.generator = build_generator(self.architecture, fused=True)
        self.generator_stem, self.generator_head = split_at_normalization(self.generator)
        self.discriminator = build_discriminator(self.architecture, fused=True)
        self.generator_optimizer = self._optimizer("generator", self.generator)
        self.discriminator_optimizer = self._optimizer("discriminator", self.discriminator)
        self.update = UPDATES[config.update.name]
        self.regularizer = REGULARIZERS[config.regularizer.name]
        self.averaged_generator = build_generator(self.architecture, fused=True) if config.ema.decay else None
        # The fraction of images that ADA augments; DiffAugment augments all.
        self.probability = keras.Variable(0.0, trainable=False) if config.augment.name == "ada" else None

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
        owners = {
            "generator": self.generator.variables,
            "discriminator": self.discriminator.variables,
            "generator_optimizer": self.generator_optimizer.variables,
            "discriminator_optimizer": self.discriminator_optimizer.variables,
        }
        if self.averaged_generator:
            owners["averaged_generator"] = self.averaged_generator.variables
        if self.probability is not None:
            owners["augmentation"] = [self.probability]
        return owners

    def state(self) -> dict[str, np.ndarray]:
        """A copy of `variables`, each under a name that is the same in every process."""
        return {name: np.array(variable.value) for name, variable in self._named_variables().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Set every variable, or none. Raises ValueError where a name, a shape or a type differs."""
        own = self._named_variables()
        for name in sorted(own.keys() | state.keys()):
            wanted, given = _kind(own.get(name)), _kind(state.get(name))
            if wanted != given:
                raise ValueError(f"{name} is {given} where this experiment has {wanted}")
        for name, variable in own.items():
            variable.assign(state[name])

    def _named_variables(self) -> dict[str, Any]:
        # Not by Keras' own names, which count the layers that a process has made.
        return {f"{owner}.{n:03}": v for owner, variables in self.variables.items() for n, v in enumerate(variables)}

    def train(self, iteration: int, count: int) -> tuple[dict[str, float], int | None]:
        """Run iterations `iteration + 1` to `iteration + count`.

        Returns the last iteration's measures and the first iteration whose losses were not finite, at which it
        stopped, or null. Accuracies are in percent. The same weights result however the iterations are divided.
        """
        run = self._train_compiled if self.is_compiled else self._train
        values, failed_at = run(tf.constant(iteration, tf.int64), tf.constant(count, tf.int64))
        measures = dict(zip(MEASURES, values.numpy().tolist(), strict=True))
        return _reported(measures), None if failed_at < 0 else int(failed_at)

    def _iterations(self, iteration: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        last = iteration + count

        def one_iteration(done: tf.Tensor, _: tf.Tensor, failed_at: tf.Tensor) -> tuple[tf.Tensor, ...]:
            now = done + 1
            values = self.iterate(now)
            return now, values, tf.where(tf.reduce_all(tf.math.is_finite(values)), failed_at, now)

        _, values, failed_at = tf.while_loop(
            lambda done, _, failed_at: (done < last) & (failed_at < 0),
            one_iteration,
            (iteration, tf.zeros(len(MEASURES)), tf.constant(-1, tf.int64)),
            parallel_iterations=1,
        )
        return values, failed_at

    _train = tf.function(_iterations, autograph=False, reduce_retracing=True)
    _train_compiled = tf.function(_iterations, autograph=False, reduce_retracing=True, jit_compile=True)

    def iterate(self, iteration: tf.Tensor) -> tf.Tensor:
        """One iteration. Returns the values of MEASURES."""
        self._schedule(iteration)
        values = self.update(self, iteration)
        self._average(iteration)
        return replicas.mean(values)

    def real_images(self, iteration: tf.Tensor, step: int = 0) -> tf.Tensor:
        """The batch of a step of D, drawn uniformly with replacement; float32 in [-1, 1].

        Here as for all that is drawn: of several replicas, each gets its part.
        """
        seed, count = self._seed(BATCH, iteration, step), self.images.shape[0]
        indices = tf.random.stateless_uniform([self.config.batch_size], seed, 0, count, tf.int32, alg="philox")
        images = self._flipped(self._chosen(replicas.own_part(indices)), iteration, step)
        return tf.cast(images, tf.float32) / 127.5 - 1.0

    def _chosen(self, indices: tf.Tensor) -> tf.Tensor:
        if isinstance(self.images, tf.Tensor):
            return tf.gather(self.images, indices)
        # Read from where they are, a mapped file perhaps, by Python.
        images = tf.numpy_function(self.images.__getitem__, [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(images, [self.config.batch_size // replicas.count(), *self.images.shape[1:]])

    def _flipped(self, images: tf.Tensor, iteration: tf.Tensor, step: int) -> tf.Tensor:
        if not self.config.data.flip:
            return images
        seed, shape = self._seed(FLIP, iteration, step), [self.config.batch_size, 1, 1, 1]
        is_flipped = replicas.own_part(tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32, alg="philox") == 1)
        return tf.where(is_flipped, tf.reverse(images, [2]), images)

    def latents(self, iteration: tf.Tensor, step: int = 0) -> tf.Tensor:
        """The latents of a step, N(0, 1), of shape (batch, latent_dim)."""
        shape = [self.config.batch_size, self.config.latent_dim]
        seed = self._seed(LATENTS, iteration, step)
        return replicas.own_part(tf.random.stateless_normal(shape, seed, alg="philox"))

    def judge(self, images: tf.Tensor, purpose: int, iteration: tf.Tensor, step: int = 0) -> tf.Tensor:
        """D's logits of a batch in training mode, augmented where the experiment says so."""
        if self.config.augment.name != "none":
            probability = 1.0 if self.probability is None else self.probability.value
            images = augmented(images, self._seed(purpose, iteration, step), probability)
        return self.discriminator(images, training=True)

    def penalty(self, real: tf.Tensor, generated: tf.Tensor, iteration: tf.Tensor, step: int) -> tf.Tensor | float:
        """The regularizer's term of D's loss."""
        if self.regularizer is None:
            return 0.0
        seed = self._seed(MIXING, iteration, step)
        shape = [self.config.batch_size, 1, 1, 1]
        mixing = replicas.own_part(tf.random.stateless_uniform(shape, seed, alg="philox"))
        judge = partial(self.judge, purpose=AUGMENT_REAL, iteration=iteration, step=step)
        return self.config.regularizer.weight * self.regularizer(judge, real, generated, mixing)

    def adapt(self, real_margins: tf.Tensor) -> None:
        """Move ADA's probability after D has judged real images."""
        if self.probability is not None:
            self.probability.assign(adapted(self.probability.value, real_margins, self.config.batch_size))

    def undecided(self, real_logits: tf.Tensor, generated_logits: tf.Tensor) -> tf.Tensor | float:
        """The logit of an image of which D can't say whether it is real."""
        if self.threshold is not None:
            return self.threshold
        return replicas.mean((tf.reduce_mean(real_logits) + tf.reduce_mean(generated_logits)) / 2)

    def _schedule(self, iteration: tf.Tensor) -> None:
        if self.config.schedule.name == "constant":
            return
        factor = learning_rate_factor(self.config.schedule, iteration, self.config.iterations)
        for network in ("generator", "discriminator"):
            base = optimizer_arguments(self.config.optimizer, network)["learning_rate"]
            optimizer = getattr(self, f"{network}_optimizer")
            getattr(optimizer, "inner_optimizer", optimizer).learning_rate.assign(base * factor)

    def _average(self, iteration: tf.Tensor) -> None:
        if self.averaged_generator is None:
            return
        # A young average forgets the initial weights faster (TensorFlow's ExponentialMovingAverage does the same).
        now = tf.cast(iteration, tf.float32)
        decay = tf.minimum(self.config.ema.decay, (1.0 + now) / (10.0 + now))
        for average, value in zip(self.averaged_generator.variables, self.generator.variables, strict=True):
            average.assign_sub((1.0 - decay) * (average.value - value.value))

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

    def _seed(self, purpose: int, iteration: tf.Tensor, step: int = 0) -> tf.Tensor:
        return tf.stack([tf.constant(self.config.seed, tf.int64), (iteration * STEPS + step) * PURPOSES + purpose])

    @property
    def sampled_generator(self) -> keras.Model:
        """The generator that grids and scores come from: with the averaged weights where they are kept."""
        return self.averaged_generator or self.generator

    @tf.function(autograph=False, reduce_retracing=True)
    def generate(self, latents: tf.Tensor) -> tf.Tensor:
        """Images (n, height, width, channels) in [-1, 1] of `sampled_generator`, in inference mode."""
        return self.sampled_generator(latents, training=False)

    def stock_networks(self) -> dict[str, keras.Model]:
        """Copies that hold Keras' own layers only.

        With an average, `generator` holds that and `generator_raw` the weights that were trained.
        """
        generators = {"generator": self.sampled_generator}
        if self.averaged_generator:
            generators["generator_raw"] = self.generator
        copies = {
            name: stock_copy(network.get_weights(), build_generator, self.architecture)
            for name, network in generators.items()
        }
        return {**copies, "discriminator": stock_discriminator(self.discriminator, self.architecture)}

    def descend(self, network: str, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """One optimizer step of one network along a loss that the tape has recorded."""
        optimizer: keras.Optimizer = getattr(self, f"{network}_optimizer")
        variables = getattr(self, network).trainable_variables
        # Losses are means over equal parts of the batch: the mean of their gradients is the whole batch's gradient.
        gradients = replicas.mean(tape.gradient(loss, [v.value for v in variables]))
        with replicas.alone():
            optimizer.apply(gradients, variables)


def accuracy(margins: tf.Tensor, real: bool) -> tf.Tensor:
    """The fraction of images that D judges rightly; `margins` are logits above the undecided one."""
    return tf.reduce_mean(tf.cast(margins > 0 if real else margins <= 0, tf.float32))


def _kind(variable: Any) -> str:
    return "nothing" if variable is None else f"{variable.dtype} {tuple(variable.shape)}"


def _reported(measures: dict[str, float]) -> dict[str, float]:
    real, fake = 100 * measures["d_accuracy_real"], 100 * measures["d_accuracy_fake"]
    return {
        "d_loss": (measures["d_loss_real"] + measures["d_loss_fake"]) / 2,
        "g_loss": measures["g_loss"],
        "d_accuracy": (real + fake) / 2,
        "d_accuracy_real": real,
        "d_accuracy_fake": fake,
    }


def learning_rate_factor(schedule: ScheduleConfig, iteration: tf.Tensor, iterations: int) -> tf.Tensor:
    """What the learning rates are multiplied with: 1 before the first iteration, `final` at the last."""
    done = tf.cast(iteration, tf.float32) / iterations
    left = 1.0 - done if schedule.name == "linear" else (1.0 + tf.cos(np.pi * done)) / 2.0
    return schedule.final + (1.0 - schedule.final) * left


def book_update(gan: GAN, iteration: tf.Tensor) -> tf.Tensor:
    """The listing's three separate updates. Returns the values of MEASURES.

    The fakes that D learns from come from the generator in inference mode; G's own come in training mode, from
    the same latents. What both modes have in common is computed once.
    """
    assert isinstance(gan.loss, Loss)
    with tf.GradientTape(watch_accessed_variables=False) as generator_tape:
        _watch(generator_tape, gan.generator)
        features = gan.generator_stem(gan.latents(iteration), training=True)
    generated_images = gan.generator_head(features, training=False)
    losses, accuracies = [], []
    for images, purpose, loss_of in (
        (gan.real_images(iteration), AUGMENT_REAL, gan.loss.real),
        (generated_images, AUGMENT_FAKE, gan.loss.generated),
    ):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            _watch(tape, gan.discriminator)
            logits = gan.judge(images, purpose, iteration)
            loss = loss_of(logits)
            scaled_loss = gan.discriminator_optimizer.scale_loss(loss)
        gan.descend("discriminator", tape, scaled_loss)
        losses.append(loss)
        margins = logits - (gan.threshold or 0.0)  # a critic's middle is not known yet
        accuracies.append(accuracy(margins, real=purpose == AUGMENT_REAL))
        if purpose == AUGMENT_REAL:
            gan.adapt(margins)
    with generator_tape:
        logits = gan.judge(gan.generator_head(features, training=True), AUGMENT_OWN, iteration)
        g_loss = gan.loss.generator(logits)
        scaled_loss = gan.generator_optimizer.scale_loss(g_loss)
    gan.descend("generator", generator_tape, scaled_loss)
    return tf.stack([*losses, g_loss, *accuracies])


def shared_update(gan: GAN, iteration: tf.Tensor) -> tf.Tensor:
    """One generator pass, in training mode, for both networks. Returns the values of MEASURES.

    D takes one step on the mean of its real and its fake loss; then G's gradient flows through the updated D.
    Where D takes more steps, the earlier ones have batches and latents of their own.
    """
    for step in range(1, gan.config.update.discriminator_steps):
        earlier_images = gan.generator(gan.latents(iteration, step), training=True)
        _discriminator_step(gan, gan.real_images(iteration, step), earlier_images, iteration, step)
    with tf.GradientTape(watch_accessed_variables=False) as generator_tape:
        _watch(generator_tape, gan.generator)
        generated_images = gan.generator(gan.latents(iteration), training=True)
    real_images, loss = gan.real_images(iteration), gan.loss
    losses, accuracies = _discriminator_step(gan, real_images, generated_images, iteration, 0)
    with generator_tape:
        generated_logits = gan.judge(generated_images, AUGMENT_OWN, iteration)
        if isinstance(loss, PairLoss):
            g_loss = loss.generator(gan.judge(real_images, AUGMENT_REAL, iteration), generated_logits)
        else:
            g_loss = loss.generator(generated_logits)
        scaled_loss = gan.generator_optimizer.scale_loss(g_loss)
    gan.descend("generator", generator_tape, scaled_loss)
    return tf.stack([*losses, g_loss, *accuracies])


def _discriminator_step(
    gan: GAN, real_images: tf.Tensor, generated_images: tf.Tensor, iteration: tf.Tensor, step: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        _watch(tape, gan.discriminator)
        # Separate passes, so that batch normalisation does not mix real and generated images.
        real_logits = gan.judge(real_images, AUGMENT_REAL, iteration, step)
        generated_logits = gan.judge(generated_images, AUGMENT_FAKE, iteration, step)
        losses = discriminator_losses(gan.loss, real_logits, generated_logits)
        loss = (losses[0] + losses[1]) / 2 + gan.penalty(real_images, generated_images, iteration, step)
        scaled_loss = gan.discriminator_optimizer.scale_loss(loss)
    gan.descend("discriminator", tape, scaled_loss)
    undecided = gan.undecided(real_logits, generated_logits)
    real_margins, generated_margins = real_logits - undecided, generated_logits - undecided
    gan.adapt(real_margins)
    return list(losses), [accuracy(real_margins, real=True), accuracy(generated_margins, real=False)]


def _watch(tape: tf.GradientTape, network: keras.Model) -> None:
    # Only these: the other network's weight gradients are never computed.
    for variable in network.trainable_variables:
        tape.watch(variable.value)


UPDATES: dict[str, Callable[[GAN, tf.Tensor], tf.Tensor]] = {"book": book_update, "shared": shared_update}
