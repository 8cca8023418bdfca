"""Threads that wait for each other."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest

from feedback_gateway.storage.turns import Turns

FORKS = """
import os, threading
from feedback_gateway.storage.turns import Turns
turns = Turns(0.01)
holder = threading.Thread(target=turns.take)
holder.start()
holder.join()
child = os.fork()
if child == 0:
    os._exit(0 if turns.take() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), turns.take())
"""


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    """Nobody is overtaken."""
    turns, order = Turns(10), []

    def take(number: int) -> None:
        turns.take()
        order.append(number)
        turns.pass_on()

    turns.take()
    threads = [Thread(target=take, args=(number,)) for number in range(20)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(turns._waiting) <= number:
            os.sched_yield()
    turns.pass_on()
    for thread in threads:
        thread.join()

    assert order == list(range(20))


def test_who_waited_too_long_holds_nobody_up() -> None:
    """The turn goes to the next in line."""
    turns = Turns(0.01)
    turns.take()

    with ThreadPoolExecutor(1) as other:
        came = other.submit(turns.take).result()
        turns.pass_on()
        came_later = other.submit(turns.take).result()

    assert not came
    assert came_later


def test_a_turn_within_a_turn_is_a_mistake_and_is_told_at_once() -> None:
    """It could never come."""
    turns = Turns(1)
    turns.take()

    with pytest.raises(RuntimeError, match="began to write again"):
        turns.take()


def test_no_two_threads_have_the_turn() -> None:
    """Nor is one lost while threads give up waiting."""
    turns, inside, most = Turns(0.00002), [0], [0]

    def work(_: int) -> int:
        done = 0
        for _ in range(500):
            if turns.take():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                os.sched_yield()
                inside[0] -= 1
                done += 1
                turns.pass_on()
        return done

    with ThreadPoolExecutor(8) as threads:
        done = sum(threads.map(work, range(8)))

    assert most == [1]
    assert done > 0
    assert turns.take()


def test_a_forked_child_begins_with_nobody_waiting() -> None:
    """The thread that has the turn stays with the parent, and goes on having it there."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS]

    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert said.split() == ["0", "False"]
