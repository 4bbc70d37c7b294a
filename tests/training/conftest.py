"""What tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from deid.progress import QuietProgress
from deid.training import dataset


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    before, dataset.SHARD = dataset.SHARD, 64
    try:
        dataset.fill(folder, 16, 1, 64, QuietProgress())
    finally:
        dataset.SHARD = before
    return folder
