"""Fixtures for every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def no_logged_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An error that is logged and then ignored is a failed test."""
    yield
    logged = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    errors = [record.getMessage() for record in logged if record.levelno >= logging.ERROR]
    assert not errors, f"logged errors: {errors}"
