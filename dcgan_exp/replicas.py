"""One replica among those that train together: its part of a batch, and means over them all.

The replicas are those of the tf.distribute strategy that runs the caller. Without one there is a single replica,
and everything here leaves things as they are.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute import distribute_lib


def count() -> int:
    """How many replicas train together."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def own_part(drawn: tf.Tensor) -> tf.Tensor:
    """This replica's rows of what was drawn for the whole batch: all replicas together use what one device would."""
    if count() == 1:
        return drawn
    size = (drawn.shape[0] or tf.shape(drawn)[0]) // count()
    start = tf.distribute.get_replica_context().replica_id_in_sync_group * size
    return drawn[start : start + size]


def mean(values: Any) -> Any:
    """The mean over the replicas of a tensor, or of each tensor of a list; gradients pass through it."""
    if count() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within it this replica is the only one.

    For Keras' optimizers, which add up gradients and update variables across replicas of their own accord. Here each
    replica has variables of its own, which stay equal since all take the same steps.
    """
    if count() == 1:
        yield
        return
    distribute_lib._push_per_thread_mode(distribute_lib._get_default_replica_mode())
    try:
        yield
    finally:
        distribute_lib._pop_per_thread_mode()
