"""What tests on several hosts share."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def short():
    """A folder of a short path."""
    folder = Path(tempfile.mkdtemp(prefix="nr"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
