"""An independent judge of generated digits or clothes: a classifier and a Frechet distance that share nothing with
this package's yardstick, and a search for copies.

    dcgan-exp sample RUN --count 10000 --seed 7 --output samples.npy
    python benchmarks/judge.py mnist.npz samples.npy [MORE.npy ...]

The classifier is a convolutional network with max pooling and tanh features, trained here on the training images; the
distance is between Gaussians of its 64 features (SciPy's matrix square root), to the test images. A sample is near
where it lies nearer to a training image than all but 1 % of the test images do: training images themselves, which
are judged first, all are.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

SEARCHED = 1_000  # samples, and test images, whose nearest training image is looked for
Array = NDArray[np.generic]


def scaled(images: Array) -> Array:
    """uint8 (n, 28, 28) or (n, 28, 28, 1) -> float32 (n, 28, 28, 1) in [0, 1]."""
    return images.reshape(len(images), 28, 28, 1).astype(np.float32) / 255


def trained_judge(images: Array, labels: Array, epochs: int) -> keras.Model:
    """Images -> features and class probabilities."""
    keras.utils.set_random_seed(12345)
    layers = keras.layers
    inputs = layers.Input((28, 28, 1))
    outputs = layers.MaxPooling2D()(layers.Conv2D(24, 5, padding="same", activation="elu")(inputs))
    outputs = layers.MaxPooling2D()(layers.Conv2D(48, 5, padding="same", activation="elu")(outputs))
    features = layers.Dense(64, activation="tanh")(layers.Dropout(0.25)(layers.Flatten()(outputs)))
    probabilities = layers.Dense(10, activation="softmax")(features)
    classifier = keras.Model(inputs, probabilities)
    classifier.compile("nadam", "sparse_categorical_crossentropy")
    classifier.fit(scaled(images), labels, batch_size=100, epochs=epochs, verbose=2)
    return keras.Model(inputs, [features, probabilities])


def frechet(first: Array, second: Array) -> float:
    """Between the Gaussians of two sets of features (Heusel et al. 2017, section 3)."""
    means, covariances = zip(*((f.mean(0), np.cov(f, rowvar=False)) for f in (first, second)), strict=True)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    return float(np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root))


def main() -> None:
    """Train the judge, and print a line for the floor and for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="an .npz in the layout of Keras' mnist.npz")
    parser.add_argument("samples", nargs="+", help="uint8 arrays, .npy")
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args()
    with np.load(chosen.data) as data:
        train, labels, test, test_labels = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    judge = trained_judge(train, labels, chosen.epochs)
    real, probabilities = judge.predict(scaled(test), batch_size=500, verbose=0)
    print(f"the judge recognises {100 * np.mean(probabilities.argmax(1) == test_labels):.2f} % of the test images")
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(scaled(train).reshape(len(train), -1))
    usual = search.kneighbors(scaled(test[:SEARCHED]).reshape(SEARCHED, -1))[0]
    print("Frechet  rarest class  confidence  distance      near  samples")
    some = train[np.random.default_rng(1).permutation(len(train))[:10_000]]
    for name in ("training images", *chosen.samples):
        images = some if name == "training images" else np.load(name, allow_pickle=False)
        features, probabilities = judge.predict(scaled(images), batch_size=500, verbose=0)
        shares = np.bincount(probabilities.argmax(1), minlength=10) / len(images)
        distances = search.kneighbors(scaled(images[:SEARCHED]).reshape(-1, 784))[0]
        near = np.mean(distances < np.quantile(usual, 0.01))
        sure, away = probabilities.max(1).mean(), np.median(distances)
        print(f"{frechet(features, real):7.3f} {shares.min():13.2%} {sure:11.1%} {away:9.2f} {near:9.1%}  {name}")
    print(f"distance: the median to the nearest training image; of test images {np.median(usual):.2f}")


if __name__ == "__main__":
    main()
