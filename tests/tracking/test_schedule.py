import numpy as np
import pytest

from deid.tracking.schedule import MAX_SEARCH_PIXELS, ChangeMeter, Schedule


@pytest.mark.parametrize("size", [(320, 240), (512, 512), (1280, 720), (1920, 1080), (3840, 2160), (7680, 4320)])
@pytest.mark.parametrize("rate", [5.0, 25.0, 60.0, None])
def test_searches_are_never_far_apart_nor_too_large(size, rate):
    plan = Schedule.plan(*size, rate)
    assert plan.step <= plan.interval
    assert plan.interval / (rate or 25.0) <= 0.75 or plan.interval == 2
    assert plan.step / (rate or 25.0) <= 0.25 or plan.step == 2
    assert size[0] * size[1] * plan.full_scale**2 <= MAX_SEARCH_PIXELS * 1.01
    assert plan.step <= 3 or size[0] < 7680  # frames of 8K are not held by the dozen
    if size[0] <= 1920:
        assert plan.full_scale == 1.0


def test_change_meter_sees_someone_walk_in_and_not_noise():
    rng = np.random.default_rng(1)
    still = np.full((144, 256, 3), 120, np.uint8)
    meter = ChangeMeter()
    assert meter.changed(still)
    meter.mark(still)
    noisy = np.clip(still + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8)
    assert not meter.changed(noisy)
    entered = still.copy()
    entered[40:110, 100:150] = 30
    assert meter.changed(entered)


@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (1920, 1080), (7680, 4320)])
def test_effort_decides_how_often_and_how_finely(size):
    fast, balanced, thorough = (Schedule.plan(*size, 25.0, effort) for effort in ("fast", "balanced", "thorough"))
    assert balanced == Schedule.plan(*size, 25.0)
    assert fast.interval >= 1.5 * balanced.interval and fast.full_scale <= balanced.full_scale
    assert fast.interval <= 38 and fast.step <= 12
    assert (thorough.interval, thorough.step, thorough.deep) == (1, 1, True)
    assert thorough.full_scale == balanced.full_scale and not (fast.deep or balanced.deep)
