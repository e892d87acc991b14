"""wrk, a generator of load (https://github.com/wg/wrk): each connection asks one query after another, at random."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("seed", #threads)
end

function init(args)
    answered, refused, failed, paths = 0, 0, 0, {}
    for line in io.lines(args[1]) do paths[#paths + 1] = line end
    math.randomseed(seed)
end

function request()
    return wrk.format("GET", paths[math.random(#paths)])
end

function response(status)
    if status == 200 then answered = answered + 1
    elseif status == 503 then refused = refused + 1
    else failed = failed + 1 end
end

function done(summary, latency)
    local answered, refused, failed = 0, 0, 0
    for _, thread in ipairs(threads) do
        answered = answered + thread:get("answered")
        refused = refused + thread:get("refused")
        failed = failed + thread:get("failed")
    end
    local broken = summary.errors.connect + summary.errors.read + summary.errors.write
    local told = '{"seconds": %f, "answered": %d, "refused": %d, "failed": %d, "broken": %d, "late": %d,'
    told = told .. ' "p50": %f, "p99": %f, "longest": %f}'
    print(string.format(told, summary.duration / 1e6, answered, refused, failed, broken, summary.errors.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""
#: Seconds after which a request counts as late.
_LATE = 60


@dataclass(frozen=True)
class Load:
    """What came of a load: counts of requests by what became of them, and milliseconds of all of them."""

    seconds: float
    answered: int
    refused: int
    failed: int
    broken: int
    late: int
    p50: float
    p99: float
    longest: float


def version() -> str | None:
    """The version of wrk; None where it is not installed."""
    if not shutil.which("wrk"):
        return None
    told = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return told.split("[")[0].strip()


def load(folder: Path, port: int, paths: list[str], connections: int, seconds: float, core: int | None = None) -> Load:
    """Load a server on this machine with so many connections for so long."""
    script, listed = folder / "load.lua", folder / "paths.txt"
    script.write_text(_SCRIPT, encoding="utf-8")
    listed.write_text("\n".join(paths) + "\n", encoding="utf-8")
    pinned = ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []
    options = ["-t", "1", "-c", str(connections), "-d", f"{seconds:.0f}s", "--timeout", f"{_LATE}s", "-s", str(script)]
    command = [*pinned, "wrk", *options, f"http://127.0.0.1:{port}", "--", str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 2 * _LATE)
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))
