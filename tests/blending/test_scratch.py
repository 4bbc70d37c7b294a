"""Arrays that are used again: of the right size, one for each thread and name."""

import threading

import numpy as np

from deid.blending.scratch import lent


def test_the_same_memory_comes_back_for_what_fits_and_new_memory_for_what_does_not():
    first = lent("test", (20, 30, 3))
    again = lent("test", (10, 30, 3))
    assert again.shape == (10, 30, 3) and again.dtype == np.float32 and np.shares_memory(first, again)
    assert lent("test", (40, 60, 3)).shape == (40, 60, 3)
    assert lent("test", (5, 5), np.bool_).dtype == np.bool_


def test_names_and_threads_do_not_share():
    ours, other = lent("a", (8, 8)), lent("b", (8, 8))
    assert not np.shares_memory(ours, other)
    theirs: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: theirs.append(lent("a", (8, 8))))
    thread.start()
    thread.join()
    assert not np.shares_memory(ours, theirs[0])


def test_what_is_very_large_is_not_kept():
    large = lent("huge", (5000, 5000))
    assert not np.shares_memory(large, lent("huge", (5000, 5000)))
