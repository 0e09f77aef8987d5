"""The compiled step against Keras' own train_on_batch, and what it promises of weights and random numbers."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from dcgan_exp import config as config_module
from dcgan_exp import gan as gan_module
from dcgan_exp.augmentation import augmented
from dcgan_exp.config import Config, compose
from dcgan_exp.gan import GAN, OPTIMIZERS, UPDATES

Make = Callable[..., Config]
tf.config.experimental.enable_op_determinism()  # as training does: gradients of gathers are sums in any order else


def weights(gan: GAN) -> list[np.ndarray]:
    return [variable.numpy() for owner in gan.variables.values() for variable in owner]


def keras_iteration(gan: GAN, iteration: int) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, float]]:
    """The listing's calls from the same weights and inputs: G's weights, D's weights and what was reported."""
    networks = gan.stock_networks()
    generator = networks["generator"]
    discriminator = keras.Sequential([networks["discriminator"], keras.layers.Activation("sigmoid")])
    stacked = keras.Sequential([generator, discriminator])
    discriminator.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(), metrics=["accuracy"])
    real_images = gan.real_images(tf.constant(iteration, tf.int64)).numpy()
    latents = gan.latents(tf.constant(iteration, tf.int64)).numpy()
    ones, zeros = np.ones((len(latents), 1)), np.zeros((len(latents), 1))
    generated_images = generator.predict_on_batch(latents)
    real = discriminator.train_on_batch(real_images, ones, return_dict=True)
    discriminator.reset_metrics()
    fake = discriminator.train_on_batch(generated_images, zeros, return_dict=True)
    discriminator.trainable = False  # only now: D's own function has been traced with its weights trainable
    stacked.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam())
    g_loss = stacked.train_on_batch(latents, ones)
    reported = {
        "d_loss": (real["loss"] + fake["loss"]) / 2,
        "d_accuracy": 100 * (real["accuracy"] + fake["accuracy"]) / 2,
        "g_loss": float(g_loss),
    }
    return generator.get_weights(), networks["discriminator"].get_weights(), reported


def test_one_iteration_is_the_listings(small_images: np.ndarray) -> None:
    gan = GAN(compose(["data=mnist_5k", "batch_size=32"]), small_images)
    generator_weights, discriminator_weights, expected = keras_iteration(gan, 1)
    measures, failed_at = gan.train(0, 1)
    assert failed_at is None
    for key, value in expected.items():
        assert measures[key] == pytest.approx(value, rel=1e-5), key
    compare_weights(gan.generator, generator_weights)
    compare_weights(gan.discriminator, discriminator_weights)


def compare_weights(network: keras.Model, expected: list[np.ndarray]) -> None:
    """Equal to float tolerance, with two allowances that round-off has in any two implementations.

    Adam turns a bias' round-off gradient in front of batch normalisation into a step of its own size; and an
    activation that round-off moves across the kink of LeakyReLU changes the gradients of a few weights.
    """
    step = 1e-3
    for variable, theirs in zip(network.variables, expected, strict=True):
        difference = np.abs(variable.numpy() - theirs)
        assert difference.max() <= 2 * step, variable.path
        if not (network.name == "generator" and "conv2d" in variable.path and "bias" in variable.path):
            assert np.mean(difference < 2e-5) > 0.97, variable.path


@pytest.mark.parametrize("update", ["book", "shared"])
@pytest.mark.parametrize("batch_size", [3, 8, 16])
def test_every_trainable_tensor_of_both_networks_moves(
    small_config: Make, small_images: np.ndarray, update: str, batch_size: int
) -> None:
    gan = GAN(small_config(f"update={update}", f"batch_size={batch_size}"), small_images)
    trained = gan.generator.trainable_variables + gan.discriminator.trainable_variables
    before = [variable.numpy() for variable in trained]
    gan.train(0, 2)
    still = [
        variable.path for variable, old in zip(trained, before, strict=True) if np.array_equal(variable.numpy(), old)
    ]
    assert still == []


def entropy(target: float) -> Callable[[tf.Tensor], tf.Tensor]:
    measured = keras.losses.BinaryCrossentropy(from_logits=True)
    return lambda logits: measured(tf.fill(logits.shape, target), logits)


def squares(target: float) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda logits: keras.losses.MeanSquaredError()(tf.fill(logits.shape, target), logits)


def hinge(target: float) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda logits: keras.losses.Hinge()(tf.fill(logits.shape, target), logits)


# What D minimises, of its logits of real and of generated images, and what G does.
Losses = tuple[Callable[[tf.Tensor, tf.Tensor], tf.Tensor], Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]
DEFINITIONS: dict[str, Losses] = {
    "loss=non_saturating": (lambda r, f: (entropy(1)(r) + entropy(0)(f)) / 2, lambda _, f: entropy(1)(f)),
    "loss.one_sided_label_smoothing=0.1": (
        lambda r, f: (entropy(0.9)(r) + entropy(0)(f)) / 2, lambda _, f: entropy(1)(f)
    ),
    "loss=least_squares": (lambda r, f: (squares(1)(r) + squares(0)(f)) / 2, lambda _, f: squares(1)(f)),
    "loss=hinge": (lambda r, f: (hinge(1)(r) + hinge(-1)(f)) / 2, lambda _, f: -tf.reduce_mean(f)),
    "loss=wasserstein": (lambda r, f: tf.reduce_mean(f) - tf.reduce_mean(r), lambda _, f: -tf.reduce_mean(f)),
    "loss=relativistic": (lambda r, f: entropy(1)(r - f), lambda r, f: entropy(1)(f - r)),
}  # fmt: skip
ALONE = "loss=non_saturating"
SHARED = [
    *((name, name) for name in DEFINITIONS),
    (ALONE, "regularizer=r1 regularizer.weight=3"),
    (ALONE, "model.discriminator.normalization=batch"),
    (ALONE, "update.discriminator_steps=2"),
    (ALONE, "augment=diffaugment regularizer=r1"),
    ("loss=relativistic", "loss=relativistic model.discriminator.normalization=batch augment=diffaugment"),
]


@pytest.mark.parametrize(("losses", "overrides"), SHARED)
def test_shared_update_is_its_definition_written_with_keras(
    small_config: Make, small_images: np.ndarray, losses: str, overrides: str
) -> None:
    """D takes a step on the mean of its losses; G's gradient then flows through the updated D from the same pass."""
    descent = ["optimizer=sgd", "optimizer.learning_rate=0.1", "optimizer.momentum=0"]
    config = small_config("update=shared", *descent, *overrides.split())
    gan, (loss_of_d, loss_of_g) = GAN(config, small_images), DEFINITIONS[losses]
    networks, iteration = gan.stock_networks(), tf.constant(1, tf.int64)
    generator, discriminator = networks["generator"], networks["discriminator"]
    before = discriminator.get_weights()

    def judged(images: tf.Tensor, purpose: int, step: int) -> tf.Tensor:
        if config.augment.name == "diffaugment":
            images = augmented(images, gan._seed(purpose, iteration, step))
        return discriminator(images, training=True)

    def descend(tape: tf.GradientTape, loss: tf.Tensor, network: keras.Model) -> None:
        for variable, gradient in zip(
            network.trainable_variables, tape.gradient(loss, network.trainable_variables), strict=True
        ):
            variable.assign_sub(0.1 * gradient)

    for step in range(config.update.discriminator_steps - 1, -1, -1):
        real_images, latents = gan.real_images(iteration, step), gan.latents(iteration, step)
        with tf.GradientTape() as g_tape:
            generated_images = generator(latents, training=True)
            with tf.GradientTape() as d_tape:
                real = judged(real_images, gan_module.AUGMENT_REAL, step)
                fake = judged(tf.stop_gradient(generated_images), gan_module.AUGMENT_FAKE, step)
                told = d_loss = loss_of_d(real, fake)
                if weight := config.regularizer.weight:
                    with tf.GradientTape() as tape:
                        tape.watch(real_images)
                        logits = judged(real_images, gan_module.AUGMENT_REAL, step)
                    norms = tf.reduce_sum(tape.gradient(logits, real_images) ** 2, [1, 2, 3])
                    d_loss += weight * tf.reduce_mean(norms) / 2
            descend(d_tape, d_loss, discriminator)
            if step == 0:
                fake = judged(generated_images, gan_module.AUGMENT_OWN, 0)
                real = judged(real_images, gan_module.AUGMENT_REAL, 0) if "relativistic" in losses else real
                g_loss = loss_of_g(real, fake)
    descend(g_tape, g_loss, generator)
    measures, _ = gan.train(0, 1)
    assert measures["d_loss"] == pytest.approx(float(told), rel=1e-5)
    assert measures["g_loss"] == pytest.approx(float(g_loss), rel=1e-4)
    for ours, theirs in ((gan.generator, generator), (gan.discriminator, discriminator)):
        for variable, expected in zip(ours.variables, theirs.get_weights(), strict=True):
            np.testing.assert_allclose(variable.numpy(), expected, atol=1e-5, rtol=1e-3, err_msg=variable.path)
    assert not all(np.array_equal(a, b) for a, b in zip(before, discriminator.get_weights(), strict=True))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_same_bits_whatever_the_chunks(small_config: Make, small_images: np.ndarray, precision: str) -> None:
    config = small_config(f"precision={precision}", "model.discriminator.dropout=0.3")
    whole, pieces = GAN(config, small_images), GAN(config, small_images)
    measures, _ = whole.train(0, 7)
    for first, count in ((0, 1), (1, 4), (5, 2)):
        in_pieces, _ = pieces.train(first, count)
    assert measures == in_pieces
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(pieces), strict=True))


@pytest.mark.parametrize("update", ["book", "shared"])
@pytest.mark.parametrize(("precision", "tolerance"), [("mixed_bfloat16", 0.03), ("mixed_float16", 0.01)])
def test_mixed_precision_follows_float32(
    small_config: Make, small_images: np.ndarray, update: str, precision: str, tolerance: float
) -> None:
    exact, _ = GAN(small_config(f"update={update}"), small_images).train(0, 3)
    mixed = GAN(small_config(f"update={update}", f"precision={precision}"), small_images)
    measures, failed_at = mixed.train(0, 3)
    assert failed_at is None
    assert mixed.generator.layers[0].compute_dtype == precision.removeprefix("mixed_")
    assert all(variable.dtype == "float32" for variable in mixed.generator.trainable_variables)
    assert measures["d_loss"] == pytest.approx(exact["d_loss"], rel=tolerance)
    assert measures["g_loss"] == pytest.approx(exact["g_loss"], rel=tolerance)


def test_the_first_iteration_that_is_not_finite_is_told(small_config: Make, small_images: np.ndarray) -> None:
    config = small_config("optimizer=sgd", "optimizer.learning_rate=30")
    _, in_one_chunk = GAN(config, small_images).train(0, 50)
    gan, one_by_one = GAN(config, small_images), None
    for done in range(50):
        _, one_by_one = gan.train(done, 1)
        if one_by_one:
            break
    assert in_one_chunk == one_by_one
    assert 1 < in_one_chunk <= 50


def test_batches_are_uniform_draws_with_replacement(small_config: Make) -> None:
    markers = np.arange(64, dtype=np.uint8).reshape(64, 1, 1, 1) * np.ones((1, 28, 28, 1), np.uint8)
    gan = GAN(small_config("batch_size=64"), markers)
    drawn = [np.rint((gan.real_images(tf.constant(i, tf.int64))[:, 0, 0, 0] + 1) * 127.5) for i in range(100)]
    counts = np.bincount(np.concatenate(drawn).astype(int), minlength=64)
    assert counts.min() > 60  # 100 expected; five standard deviations are 50
    assert counts.max() < 150
    assert any(len(set(batch)) < 64 for batch in drawn)


@pytest.mark.parametrize("flip", ["false", "true"])
def test_a_mapped_file_gives_the_bits_of_an_array(
    small_config: Make, small_images: np.ndarray, flip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "images.npy", small_images)
    config = small_config(f"data.flip={flip}", "update=shared", "update.discriminator_steps=2")
    array = GAN(config, small_images)
    monkeypatch.setattr(gan_module, "IN_MEMORY_BYTES", 0)
    mapped = GAN(config, np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert isinstance(mapped.images, np.memmap)
    assert array.train(0, 5) == mapped.train(0, 5)
    assert all(np.array_equal(a, b) for a, b in zip(weights(array), weights(mapped), strict=True))


def test_half_of_the_images_are_mirrored_where_asked(small_config: Make) -> None:
    markers = np.zeros((64, 28, 28, 1), np.uint8)
    markers[:, :, 0] = np.arange(1, 65)[:, None, None]  # in the leftmost column
    plain, flipped = (GAN(small_config("batch_size=64", f"data.flip={flip}"), markers) for flip in ("false", "true"))
    mirrored = []
    for i in range(20):
        one, other = (np.rint((gan.real_images(tf.constant(i, tf.int64)) + 1) * 127.5) for gan in (plain, flipped))
        turned = other[:, 0, 0, 0] == 0
        np.testing.assert_array_equal(np.where(turned[:, None, None, None], one[:, :, ::-1], one), other)
        mirrored.extend(turned)
    assert 0.45 < np.mean(mirrored) < 0.55  # of 1,280


def test_latents_are_standard_normal_and_differ_by_iteration(small_config: Make, small_images: np.ndarray) -> None:
    gan = GAN(small_config("batch_size=500"), small_images)
    first, second = (gan.latents(tf.constant(i, tf.int64)).numpy() for i in (1, 2))
    assert abs(first.mean()) < 0.05
    assert abs(first.std() - 1) < 0.05
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.06


def test_grids_share_their_latents_whatever_the_seed(small_config: Make, small_images: np.ndarray) -> None:
    first, second = (GAN(small_config(f"seed={seed}"), small_images).sample_latents(4) for seed in (1, 2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_keras(name: str, small_config: Make, small_images: np.ndarray) -> None:
    gan = GAN(small_config(f"optimizer={name}"), small_images)
    ours, variable = gan.generator_optimizer, keras.Variable(np.linspace(-1, 1, 6, dtype=np.float32))
    theirs = keras.optimizers.get({"class_name": name, "config": ours.get_config()})
    twin = keras.Variable(variable.numpy())
    fresh = type(ours).from_config(ours.get_config())
    for step in range(5):
        gradient = tf.constant(np.sin(np.arange(6) + step), tf.float32)
        fresh.apply([gradient], [variable])
        theirs.apply([gradient], [twin])
    np.testing.assert_allclose(variable.numpy(), twin.numpy(), atol=1e-6)


VARIANTS = [
    "precision=mixed_bfloat16 loss=wasserstein regularizer=gradient_penalty update.discriminator_steps=2 "
    "model.discriminator.kernel_size=4 model.discriminator.widths=[16,16,16]",
    "precision=float32 loss=relativistic regularizer=r1_r2 augment=diffaugment",
    "precision=mixed_bfloat16 loss=hinge model.discriminator.normalization=spectral ema=average schedule=linear",
    "regularizer=r1 augment=ada model.discriminator.normalization=layer schedule=cosine",
    "model.discriminator.normalization=batch loss.one_sided_label_smoothing=0.1 ema=average",
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_train_the_same_bits_whatever_the_chunks(
    small_config: Make, small_images: np.ndarray, variant: str
) -> None:
    config = small_config("update=shared", *variant.split())
    whole, pieces = GAN(config, small_images), GAN(config, small_images)
    before = weights(whole)
    _, failed_at = whole.train(0, 3)
    assert failed_at is None
    after = weights(whole)
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert np.mean(moved) > 0.7  # BN statistics, slots and weights; a few optimizer scalars stay
    pieces.train(0, 1)
    whole.restore(pieces.state())
    for gan in (pieces, whole):  # going on, and resumed
        gan.train(1, 2)
        assert all(np.array_equal(a, b) for a, b in zip(weights(gan), after, strict=True))


def test_the_average_is_the_recurrence_in_numpy(small_config: Make, small_images: np.ndarray) -> None:
    gan = GAN(small_config("ema.decay=0.5"), small_images)
    average = [variable.numpy() for variable in gan.generator.variables]
    for iteration in range(1, 6):
        gan.train(iteration - 1, 1)
        decay = min(0.5, (1 + iteration) / (10 + iteration))
        now = [variable.numpy() for variable in gan.generator.variables]
        average = [decay * a + (1 - decay) * b for a, b in zip(average, now, strict=True)]
    for ours, expected in zip(gan.averaged_generator.variables, average, strict=True):
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)
    latents = gan.sample_latents(4)
    copies = gan.stock_networks()
    np.testing.assert_allclose(copies["generator"](latents), gan.generate(latents), atol=1e-5)
    assert not np.allclose(copies["generator_raw"](latents), gan.generate(latents), atol=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_are_keras_decays(small_config: Make, small_images: np.ndarray, schedule: str) -> None:
    gan = GAN(small_config(f"schedule={schedule}", "schedule.final=0.1", "iterations=10"), small_images)
    decays = {
        "linear": keras.optimizers.schedules.PolynomialDecay(1e-3, 10, end_learning_rate=1e-4),
        "cosine": keras.optimizers.schedules.CosineDecay(1e-3, 10, alpha=0.1),
    }
    for iteration in (1, 4, 10):
        gan.train(iteration - 1, 1)
        for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
            assert float(optimizer.learning_rate) == pytest.approx(float(decays[schedule](iteration)), rel=1e-4)


@pytest.mark.parametrize("override", ["loss=relativistic", "regularizer=r1", "update.discriminator_steps=2"])
def test_what_the_listings_update_cannot_do_is_told(override: str) -> None:
    with pytest.raises(config_module.ConfigError, match="update=shared"):
        compose(["update=book", override])


def test_names_agree() -> None:
    assert set(UPDATES) == set(config_module.NAMES["update"]) == set(config_module.choices("update"))
    assert set(OPTIMIZERS) == set(config_module.OPTIMIZER_ARGUMENTS)
    assert {compose([f"optimizer={choice}"]).optimizer.name for choice in config_module.choices("optimizer")} == set(
        OPTIMIZERS
    )


def test_a_relativistic_discriminator_is_measured_by_the_middle_of_its_logits(
    small_config: Make, small_images: np.ndarray
) -> None:
    gan = GAN(small_config("loss=relativistic", "update=shared"), small_images)
    offset = gan.discriminator.layers[-1].bias
    offset.assign([1000.0])  # the loss does not see it
    shifted, _ = gan.train(0, 1)
    gan = GAN(small_config("loss=relativistic", "update=shared"), small_images)
    real = gan.discriminator(gan.real_images(tf.constant(1, tf.int64)), training=True).numpy()
    generated = gan.discriminator(gan.generator(gan.latents(tf.constant(1, tf.int64)), training=True), training=True)
    middle = (real.mean() + generated.numpy().mean()) / 2
    measures, _ = gan.train(0, 1)
    assert measures["d_accuracy_real"] == pytest.approx(100 * (real > middle).mean())
    assert measures["d_accuracy_fake"] == pytest.approx(100 * (generated.numpy() <= middle).mean())
    assert shifted["d_loss"] == pytest.approx(measures["d_loss"], abs=1e-3)
    assert shifted["d_accuracy"] == pytest.approx(measures["d_accuracy"], abs=13)  # float32's digits beyond 1000
