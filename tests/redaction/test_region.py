import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.redaction.region import Region

size = st.floats(0.5, 1e4)
place = st.floats(-1e4, 1e4)
regions = st.builds(Region, place, place, size, size, st.floats(-10, 10))


@given(regions)
def test_the_outline_lies_at_radius_one_and_inside_the_bounds(region):
    x, y = region.outline(64).T
    assert np.allclose(region.radius(x, y), 1, atol=1e-6)
    x0, y0, x1, y1 = region.bounds()
    slack = 1e-6 * (1 + abs(x0) + abs(x1) + abs(y0) + abs(y1))
    assert x.min() >= x0 - slack and x.max() <= x1 + slack and y.min() >= y0 - slack and y.max() <= y1 + slack


@given(regions, st.floats(1.0, 3.0))
def test_bounds_touch_the_outline_and_grow_with_it(region, grow):
    x, y = region.outline(2000, grow).T
    x0, y0, x1, y1 = region.bounds(grow)
    assert x.max() == pytest.approx(x1, abs=0.01 * (x1 - x0)) and y.min() == pytest.approx(y0, abs=0.01 * (y1 - y0))


def test_contains_turns_with_the_region():
    region = Region(100, 50, 10, 30, np.pi / 2)
    assert region.contains(np.array([[129, 50], [100, 59]])).all()
    assert not region.contains(np.array([[100, 70], [131, 50], [100, 61]])).any()


@pytest.mark.parametrize("bad", [(np.nan, 0, 1, 1, 0), (0, 0, 0, 1, 0), (0, 0, 1, -1, 0), (0, np.inf, 1, 1, 0)])
def test_regions_without_size_or_place_are_refused(bad):
    with pytest.raises(ValueError, match="region needs"):
        Region(*bad)
