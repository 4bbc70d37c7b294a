"""Threads that paint take turns."""

from __future__ import annotations

import threading

import pytest

from deid.turns import aside, turn


def test_one_thread_at_a_time_has_the_turn_and_others_may_while_it_works_aside() -> None:
    inside, most, came = 0, 0, threading.Event()
    lock = threading.Lock()

    def work(times: int) -> None:
        nonlocal inside, most
        for _ in range(times):
            with turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                for _ in range(50):
                    pass
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work, args=(200,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1

    def other() -> None:
        with turn():
            came.set()

    with turn():
        thread = threading.Thread(target=other)
        thread.start()
        assert not came.wait(0.05)
        assert aside(came.wait, 5.0)  # the other one came meanwhile
    thread.join()


def test_what_is_done_aside_gives_its_result_and_raises_its_error_and_the_turn_goes_on() -> None:
    assert aside(max, 2, 3) == 3  # nobody has a turn
    with turn():
        with turn():  # again
            assert aside(int, "11", base=2) == 3
        with pytest.raises(ZeroDivisionError):
            aside(divmod, 1, 0)
        assert aside(abs, -1) == 1
    done = threading.Event()

    def other() -> None:
        with turn():
            done.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert done.wait(5.0)  # it was given back
    thread.join()
