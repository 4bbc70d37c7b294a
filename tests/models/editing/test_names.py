"""Names of attributes: the data engine's own, and what is said of words that are none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import UsageError
from deid.models.editing.names import ATTRIBUTES, INDEX, LASTING, NAMES, Change, parse


def test_names_are_those_of_the_data_engine() -> None:
    from deid.training import labels

    assert labels.NAMES == NAMES and len(NAMES) >= 35


def test_listing_names_costs_no_library() -> None:
    code = "import sys; import deid.models.editing.names; print('numpy' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_values_are_set_and_changes_are_added() -> None:
    smile, age, beard = parse(["smile=0.8", "age=+0.2, beard=-.5"])
    assert (smile.name, smile.value, smile.relative) == ("smile", 0.8, False)
    assert age.relative and age.of(0.3) == pytest.approx(0.2) and age.of(0.95) == pytest.approx(0.05)
    assert beard.of(0.2) == pytest.approx(-0.2) and smile.of(0.3) == pytest.approx(0.5)


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(0, 1), st.floats(-1, 1), st.sampled_from(NAMES))
def test_no_change_leads_out_of_the_range(now: float, by: float, name: str) -> None:
    assert -1e-9 <= now + Change(name, by, True).of(now) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("smlie=1", "did you mean smile"),
        ("Mouth-Open=1", "did you mean mouth_open"),
        ("qqqq=1", "names all"),
        ("smile", "says no value"),
        ("smile=much", "is no number"),
        ("smile=nan", "outside"),
        ("smile=1.4", "outside 0 to 1"),
        ("age=+1.4", "outside a change"),
        ("age=.1,age=.2", "twice"),
    ],
)
def test_bad_words_get_one_sentence(word: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse([word])


def test_of_a_video_only_what_lasts_can_be_set() -> None:
    assert {"age", "gender", "beard", "glasses", "face_width"} <= set(LASTING)
    assert not {"smile", "yaw", "light_warmth", "eyes_closed"} & set(LASTING)
    with pytest.raises(UsageError, match="follows the source"):
        parse(["smile=1"], "--surrogate-edit", LASTING)
    assert all(attribute.low and attribute.high for attribute in ATTRIBUTES) and INDEX["yaw"] == 0
