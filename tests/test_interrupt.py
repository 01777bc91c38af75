"""Ctrl-C: once lets running epochs end, twice ends training at once, and saving is never torn."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tuning import interrupt
from tuning.interrupt import Interrupt, held_back


@pytest.fixture(autouse=True)
def hears_ctrl_c() -> Iterator[None]:
    """Behind a shell's `&` a process starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_told_and_the_second_ends_what_may_end_at_once() -> None:
    heard = []
    with Interrupt(lambda: heard.append("first")) as interrupt:
        with pytest.raises(KeyboardInterrupt), interrupt.at_once():
            assert not interrupt.asked
            press()
            assert interrupt.asked and heard == ["first"]
            press()
        press()  # while saving it is not heard
    assert heard == ["first"]


def test_one_that_came_while_saving_ends_what_may_end_at_once_before_it_begins() -> None:
    with Interrupt(lambda: None) as interrupt:
        press()
        with interrupt.at_once():
            pass
        with pytest.raises(KeyboardInterrupt), interrupt.at_once(press=1):
            raise AssertionError("it has begun")


def test_afterwards_ctrl_c_is_what_it_was() -> None:
    with Interrupt(lambda: None):
        pass
    with pytest.raises(KeyboardInterrupt):
        press()


def test_outside_the_main_thread_it_leaves_ctrl_c_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def other() -> None:
        with Interrupt(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_must_not_be_cut_short_ends_before_a_second_ctrl_c_is_heard() -> None:
    done = []
    with Interrupt(lambda: None) as interrupt, interrupt.at_once():
        press()
        with pytest.raises(KeyboardInterrupt), held_back():
            with held_back():
                press()
                done.append("inner")
            done.append("outer")
        with held_back():
            done.append("heard once")
    assert done == ["inner", "outer", "heard once"]


def test_each_further_one_is_told_also_while_saving() -> None:
    more = []
    with Interrupt(lambda: None, lambda: more.append(1)):
        for _ in range(3):
            press()
    assert more == [1, 1]


def test_one_that_was_held_back_to_an_error_is_not_heard_by_whoever_comes_next() -> None:
    with Interrupt(lambda: None) as interrupt, interrupt.at_once():
        press()
        with pytest.raises(ValueError, match="an error"), held_back():
            press()
            raise ValueError("an error")
    with held_back():
        pass


def test_what_takes_too_long_ends_with_the_error_that_was_given_for_it() -> None:
    before_s, _ = signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(TimeoutError, match="late"), interrupt.within(0.05, TimeoutError("late")):
        time.sleep(5)
    with interrupt.within(5, TimeoutError("late")), interrupt.within(None, TimeoutError("never")):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(before_s, abs=5), "another's goes on"
