"""Work that is killed, done by two at once or without room on the disk comes to the same when it is done again.

NIRANK_FUZZ=2000 python -m pytest tests/fuzz      # more cases of each kind; a few unless said, for some seconds
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fuzz import kills

CASES = int(os.environ.get("NIRANK_FUZZ", "60")) // 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("kind", ["index", "update", "train"])
def test_disturbed_work_comes_to_the_same_when_it_is_done_again(kind):
    """In a process of its own, which forks; one that has threads had better not."""
    command = [sys.executable, "-m", "tests.fuzz.kills", kind, "--cases", str(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1].replace(",", "").split()
    assert last == ["all", str(CASES * len(kills.WAYS)), "0", "0", "0", "0"], done.stdout
