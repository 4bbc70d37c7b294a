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
