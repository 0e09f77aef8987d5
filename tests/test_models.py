"""The networks' shapes, parameter counts and initial weights."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from dcgan_exp.config import compose
from dcgan_exp.models import (
    Architecture,
    FastConv2D,
    FastConv2DTranspose,
    FusedBatchNormalization,
    SpectralNormalization,
    build_discriminator,
    build_generator,
    split_at_normalization,
    stock_copy,
    stock_discriminator,
)


def networks(*overrides: str, fused: bool = False) -> tuple[keras.Model, keras.Model]:
    architecture = Architecture.of(compose(overrides))
    return build_generator(architecture, fused), build_discriminator(architecture, fused)


def test_the_listing_has_its_parameter_counts() -> None:
    generator, discriminator = networks()
    assert generator.count_params() == 1_637_121
    assert sum(np.prod(v.shape) for v in generator.trainable_variables) == 1_636_737
    assert discriminator.count_params() == 94_721


def test_the_listing_starts_from_glorot_uniform_weights_and_zero_biases() -> None:
    for layer in networks()[0].layers:
        if isinstance(layer, keras.layers.Conv2DTranspose | keras.layers.Dense):
            receptive_field = np.prod(layer.kernel.shape[:-2])
            limit = np.sqrt(6 / (receptive_field * sum(layer.kernel.shape[-2:])))
            assert 0.98 * limit < np.abs(layer.kernel).max() <= limit
            assert not np.any(layer.bias)


def test_the_paper_starts_from_normal_weights_and_has_no_other_activations_than_its_rules() -> None:
    generator, discriminator = networks("model=paper")
    assert np.std(generator.layers[0].kernel) == pytest.approx(0.02, rel=0.02)
    kinds = [type(layer).__name__ for layer in generator.layers]
    assert kinds.count("BatchNormalization") == kinds.count("ReLU") == kinds.count("Conv2DTranspose") == 2
    kinds = [type(layer).__name__ for layer in discriminator.layers]
    assert kinds[:4] == ["Conv2D", "LeakyReLU", "Conv2D", "BatchNormalization"]  # none on D's input


@pytest.mark.parametrize(
    ("model", "size", "channels"),
    [*(("paper", size, channels) for size in (28, 32, 48, 64) for channels in (1, 3)), ("paper_128", 128, 3)],
)
def test_networks_agree_on_the_image(model: str, size: int, channels: int) -> None:
    generator, discriminator = networks(f"model={model}", f"data.image_size={size}", f"data.channels={channels}")
    images = generator(tf.zeros([2, 100]))
    assert images.shape == (2, size, size, channels)
    assert discriminator(images).shape == (2, 1)


def test_seeds_give_weights_and_layers_differ() -> None:
    first, again, other = (networks(f"seed={seed}")[0].get_weights() for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_fused_batch_normalization_is_keras_layer(precision: str) -> None:
    stock, fused = keras.layers.BatchNormalization(dtype=precision), FusedBatchNormalization(dtype=precision)
    inputs = tf.random.stateless_normal([16, 7, 7, 4], [1, 2], mean=0.5, stddev=2.0)
    inputs = tf.cast(inputs, stock.compute_dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if precision == "float32" else {"rtol": 2e-2, "atol": 2e-2}
    for training in (True, False):
        expected, ours = stock(inputs, training=training), fused(inputs, training=training)
        assert ours.dtype == expected.dtype
        np.testing.assert_allclose(tf.cast(ours, tf.float32), tf.cast(expected, tf.float32), **tolerance)
    for ours, expected in zip(fused.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
@pytest.mark.parametrize("is_transposed", [True, False])
def test_the_fast_convolutions_are_keras_layers(is_transposed: bool, kernel_size: int, dtype: str) -> None:
    arguments = {"filters": 6, "kernel_size": kernel_size, "strides": 2, "padding": "same", "dtype": dtype}
    kinds = (keras.layers.Conv2DTranspose, FastConv2DTranspose) if is_transposed else (keras.layers.Conv2D, FastConv2D)
    small, large = [5, 7, 9], [5, 14, 18]
    shapes = ([*small, 16], [*large, 6]) if is_transposed else ([*large, 16], [*small, 6])
    inputs, upstream = (tf.random.stateless_normal(shape, [1, 2]) for shape in shapes)
    results: list[list[tf.Tensor]] = []
    layers = [kind(**arguments) for kind in kinds]
    for layer in layers:
        layer.build(inputs.shape)
        layer.set_weights(layers[0].get_weights())
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * upstream)
        results.append([outputs, *tape.gradient(loss, [inputs, *(v.value for v in layer.trainable_variables)])])
    for expected, ours in zip(*([tf.cast(r, tf.float32).numpy() for r in result] for result in results), strict=True):
        tolerance = {"float32": 1e-5, "mixed_bfloat16": 1e-2}[dtype]
        np.testing.assert_allclose(ours, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("model", ["book", "paper"])
def test_a_generator_is_its_two_parts_in_a_row(model: str) -> None:
    generator, _ = networks(f"model={model}", fused=True)
    stem, head = split_at_normalization(generator)
    latents = tf.random.stateless_normal([4, 100], [0, 0])
    np.testing.assert_array_equal(head(stem(latents), training=False), generator(latents, training=False))
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in stem.layers)


def test_a_stock_copy_opens_anywhere_and_gives_the_same_images(tmp_path: Path) -> None:
    architecture = Architecture.of(compose())
    generator = build_generator(architecture, fused=True)
    latents = tf.random.stateless_normal([4, 100], [0, 0])
    stock_copy(generator.get_weights(), build_generator, architecture).save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    np.testing.assert_allclose(loaded(latents), generator(latents), atol=1e-6)


SPECTRAL = ("model.discriminator.normalization=spectral", "data.channels=3")


def spectral_layers(network: keras.Model) -> list[keras.layers.SpectralNormalization]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.SpectralNormalization)]


def test_spectral_normalization_divides_every_layer_by_its_largest_singular_value() -> None:
    _, discriminator = networks(*SPECTRAL, fused=True)
    images = tf.random.stateless_normal([2, 28, 28, 3], [0, 0])
    for _ in range(200):  # of power iteration
        discriminator(images, training=True)
    layers = spectral_layers(discriminator)
    assert len(layers) == sum(bool(layer.trainable_variables) for layer in discriminator.layers) == 4
    for layer in layers:
        kernel = layer.kernel.numpy()
        largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        np.testing.assert_allclose(layer.normalized_weights()[1], kernel / largest, rtol=2e-3, atol=1e-5)


def test_gradients_pass_through_the_division() -> None:
    layer = SpectralNormalization(keras.layers.Dense(3))
    inputs, weights = (tf.random.stateless_normal(shape, [1, 2]) for shape in ([5, 4], [5, 3]))
    for _ in range(200):
        layer(inputs, training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs, training=True) * weights)
    kernel = layer.kernel.numpy().astype(np.float64)

    def of_kernel(changed: np.ndarray) -> float:
        quotient = changed / np.linalg.svd(changed, compute_uv=False)[0]
        return float((inputs.numpy() @ quotient * weights.numpy()).sum())

    expected = np.zeros_like(kernel)
    for place in np.ndindex(*kernel.shape):
        step = np.zeros_like(kernel)
        step[place] = 1e-5
        expected[place] = (of_kernel(kernel + step) - of_kernel(kernel - step)) / 2e-5
    assert float(loss) == pytest.approx(of_kernel(kernel), rel=1e-4)
    np.testing.assert_allclose(tape.gradient(loss, layer.kernel.value), expected, rtol=1e-3, atol=1e-4)


def test_mixed_precision_keeps_small_updates_of_normalized_weights() -> None:
    _, discriminator = networks(*SPECTRAL, "precision=mixed_bfloat16", fused=True)
    before = [layer.kernel.numpy() for layer in spectral_layers(discriminator)]
    for layer in spectral_layers(discriminator):
        layer.kernel.assign_add(tf.fill(layer.kernel.shape, 1e-6))
    logits = discriminator(tf.random.stateless_normal([2, 28, 28, 3], [0, 0]), training=True)
    assert logits.dtype == tf.float32
    for layer, kernel in zip(spectral_layers(discriminator), before, strict=True):
        np.testing.assert_array_equal(layer.kernel, kernel + np.float32(1e-6))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_stock_discriminator_holds_the_normalized_weights(tmp_path: Path, precision: str) -> None:
    architecture = Architecture.of(compose([*SPECTRAL, f"precision={precision}"]))
    trained, images = build_discriminator(architecture, fused=True), tf.random.stateless_normal([2, 28, 28, 3], [0, 0])
    trained(images, training=True)
    stock_discriminator(trained, architecture).save(tmp_path / "discriminator.keras")
    loaded = keras.saving.load_model(tmp_path / "discriminator.keras")
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    np.testing.assert_allclose(loaded(images), trained(images), atol=1e-6 if precision == "float32" else 1e-2)
