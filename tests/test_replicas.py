"""Parts and means over replicas, outside of tf.distribute. Inside: tests/test_devices.py, in a process of its own."""

import tensorflow as tf

from dcgan_exp import replicas


def test_a_single_replica_keeps_everything_as_it_is() -> None:
    values = tf.range(8.0)
    assert replicas.count() == 1
    assert replicas.own_part(values) is values
    assert replicas.mean(values) is values
    with replicas.alone():
        assert replicas.count() == 1


def test_one_replica_of_a_strategy_is_alone_too() -> None:
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    values = tf.range(8.0)
    assert strategy.run(lambda: replicas.own_part(values)).shape == (8,)
