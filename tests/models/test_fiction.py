"""What ``tools/check_fiction.py`` counts, on codes made for it; and the whole of it on a few portraits, where there are
any."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTRAITS = ROOT.parent / "shared" / "data" / "portraits"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_fiction", ROOT / "tools" / "check_fiction.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module


def faces(tool: ModuleType, codes: np.ndarray, kinds: list[int], who: list[int], hosts: list[int]) -> object:
    return tool.Faces(codes.astype(np.float32), np.array(kinds), np.array(who), np.array(hosts))


def test_a_surrogate_like_a_donor_counts_but_its_host_does_not(tool: ModuleType) -> None:
    codes = np.zeros((4, 128))
    codes[np.arange(4), np.arange(4)] = 1.0
    known = faces(tool, codes, [0] * 4, [0, 1, 2, 3], [-1] * 4)
    seen = faces(tool, codes[[1, 2]] * 0.9, [0, 0], [0, 1], [1, 3])  # like its host; like a donor
    pairs, pictures, least = tool.to_donors(seen, known)
    assert pairs == pytest.approx(1 / 6)
    assert pictures == pytest.approx(1 / 2)
    assert least == pytest.approx(0.1, abs=1e-5)


def test_only_different_people_of_one_band_in_different_hosts_are_compared(tool: ModuleType) -> None:
    codes = np.zeros((5, 128))
    codes[4, 0] = 1.0
    seen = faces(tool, codes, [0, 0, 1, 0, 0], [0, 0, 1, 2, 3], [0, 1, 1, 0, 1])
    rate, middle, count = tool.among(seen)
    # of the four of band 0: 0-1 are one person, 0-3 and 1-4 share a host; 0-4, 1-3 and 3-4 are left
    assert count == 3
    assert rate == pytest.approx(1 / 3)
    assert middle == pytest.approx(1.0)


def test_intervals_hold_the_rate_and_are_wide_where_hosts_are_few(tool: ModuleType) -> None:
    rng = np.random.default_rng(1)
    widths = []
    for hosts in (8, 80):
        owners = np.repeat(np.arange(hosts), 2)
        seen = faces(tool, rng.normal(0, 0.034, (2 * hosts, 128)), [0] * 2 * hosts, list(range(2 * hosts)), owners)
        low, high = tool.interval(seen)
        assert low <= tool.among(seen)[0] <= high
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1] > 0


def test_bands_tell_gender_and_age_and_unknown_years_are_none(tool: ModuleType) -> None:
    assert tool.kind(True, 30) != tool.kind(False, 30)
    assert tool.kind(True, 30) != tool.kind(True, 50)
    assert tool.kind(True, float("nan")) == -1


def test_surrogates_of_one_host_are_compared_by_themselves(tool: ModuleType) -> None:
    codes = np.zeros((4, 128))
    codes[1, 0], codes[3, 0] = 0.4, 2.0
    seen = faces(tool, codes, [0] * 4, [0, 1, 2, 3], [7, 7, 8, 8])
    rate, middle, count = tool.of_one_host(seen)
    assert count == 2 and rate == pytest.approx(1 / 2) and middle == pytest.approx(1.2)


@pytest.mark.skipif(not (PORTRAITS / "index.csv").exists(), reason="no portraits here")
def test_it_runs_and_prints_its_figure_last() -> None:
    words = [sys.executable, "tools/check_fiction.py", str(PORTRAITS)]
    sizes = ["--hosts", "2", "--seeds", "2", "--donors", "12"]
    done = subprocess.run(words + sizes, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("holds:" if done.returncode == 0 else "does not hold:")
