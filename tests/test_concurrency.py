"""Results come in order, and no more work is begun than asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dcgan_exp.concurrency import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    turns = [threading.Event() for _ in range(8)]
    turns[1].set()

    def work(item: int) -> int:
        turns[item].wait(60)  # each odd item is done before the even one ahead of it
        turns[item - 1 if item % 2 else (item + 3) % 8].set()
        return item * item

    with ThreadPoolExecutor(2) as executor:
        assert list(in_order(executor, work, range(8), 2)) == [n * n for n in range(8)]


def test_no_more_is_begun_than_is_asked_for() -> None:
    begun = []
    with ThreadPoolExecutor(4) as executor:
        results = in_order(executor, begun.append, range(100), 3)
        next(results)
        assert len(begun) <= 4
        results.close()


def test_an_error_comes_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as executor:
        results = in_order(executor, lambda n: 1 // n, [1, 0, 1], 2)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
