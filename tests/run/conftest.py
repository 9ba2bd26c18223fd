"""What tests of whole runs share."""

import os

import pytest


@pytest.fixture
def same_environment(monkeypatch):
    """A run chooses threads for its process; the tests' own stays as it is."""
    monkeypatch.setenv("PJRT_NPROC", os.environ.get("PJRT_NPROC", "1"))
