"""Shards on two hosts by Ray: to the bit as one index, also where an actor is killed; else an error names one."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.distributed import hosts, ray_hosts

pytest.importorskip("ray")
pytest.importorskip("Stemmer")
pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not hosts.permitted(), reason="this process may not make network namespaces"),
]


@pytest.fixture(scope="module")
def cluster(short):
    with hosts.two_hosts() as (first, second):
        ray_hosts.start_head(first, short, cpus=3)  # room for all shards
        ray_hosts.join(second, first, short, cpus=2)
        yield first, second


def _driver(cluster, tmp_path, *more):
    address, variables = f"{cluster[0].address}:{ray_hosts.PORT}", {"NIRANK_CACHE": str(tmp_path / "cache")}
    arguments = (address, str(tmp_path), *more)
    return ray_hosts.Driver(cluster[0], tmp_path / "log", *arguments, program="shard_driver.py", **variables)


def _ended_well(driver):
    assert driver.end() == 0, driver.says()
    assert driver.says().rstrip().endswith("done")


def _searches(driver):
    """What each search ended in."""
    return re.findall(r"^\d+ (same|other|lost)\b", driver.says(), re.MULTILINE)


def _places(driver):
    """The node and the process of each shard, by its number, as the last search that was answered has told."""
    told = re.findall(r"^\d+ same (.*)$", driver.says(), re.MULTILINE)[-1]
    return {int(number): (node, int(pid)) for number, node, pid in re.findall(r"(\d+):([\d.]+):(\d+)", told)}


def _kill_in_a_search(driver, pid):
    """Stop a process, so that a search waits for it, and kill it then."""
    os.kill(pid, signal.SIGSTOP)
    before = -1
    while before != (before := len(_searches(driver))):
        time.sleep(1)
    os.kill(pid, signal.SIGKILL)


def test_shards_on_two_hosts_find_and_score_as_one_index(cluster, tmp_path):
    driver = _driver(cluster, tmp_path)
    _ended_well(driver)
    assert re.findall(r"^(same|other)$", driver.says(), re.MULTILINE) == ["same"] * 6
    for name in ("bm25", "exact"):
        (told,) = re.findall(rf"^places {name} (.*)$", driver.says(), re.MULTILINE)
        found = re.findall(r"(\d+):([\d.]+):(\d+)", told)
        assert [int(number) for number, _, _ in found] == [0, 1, 3]  # there is no actor for the empty one
        assert {node for _, node, _ in found} == {host.address for host in cluster}
        assert len({pid for _, _, pid in found}) == 3
        assert not any(_runs(int(pid)) for _, _, pid in found)


@pytest.mark.parametrize("shard", [0, 3])
def test_an_actor_that_is_killed_in_a_search_is_begun_again_and_nothing_is_missing(cluster, tmp_path, shard):
    driver = _driver(cluster, tmp_path, "1")
    driver.until(lambda: len(_searches(driver)) >= 3)
    before = _places(driver)
    _kill_in_a_search(driver, before[shard][1])
    seen = len(_searches(driver))
    driver.until(lambda: len(_searches(driver)) >= seen + 3)
    (tmp_path / "enough").touch()
    _ended_well(driver)
    assert set(_searches(driver)) == {"same"}
    after = _places(driver)
    assert after[shard] != before[shard]
    assert all(after[other] == before[other] for other in before if other != shard)
    assert driver.says().count("has gone") == driver.says().count("is begun again") == 1


def test_an_actor_that_may_not_be_begun_again_is_a_shard_that_is_named(cluster, tmp_path):
    driver = _driver(cluster, tmp_path, "0")
    driver.until(lambda: len(_searches(driver)) >= 3)
    _kill_in_a_search(driver, _places(driver)[1][1])
    driver.until(lambda: "lost" in _searches(driver)[:-3])
    (tmp_path / "enough").touch()
    _ended_well(driver)
    assert _searches(driver).count("lost") == 1
    assert "other" not in _searches(driver)
    assert re.search(r"lost Shard 2 \(.*shard-0001\) ended before it had answered", driver.says())


def test_an_actor_that_hangs_is_killed_and_begun_again(cluster, tmp_path):
    driver = _driver(cluster, tmp_path, "1", "3")
    driver.until(lambda: len(_searches(driver)) >= 3)
    before = _places(driver)
    os.kill(before[3][1], signal.SIGSTOP)
    driver.until(lambda: "is begun again" in driver.says())
    seen = len(_searches(driver))
    driver.until(lambda: len(_searches(driver)) >= seen + 3)
    (tmp_path / "enough").touch()
    _ended_well(driver)
    assert set(_searches(driver)) == {"same"}
    assert _places(driver)[3] != before[3]
    assert re.search(r"Shard 4 \(.*\) did not answer within 3 seconds; it is begun again", driver.says())
    ray_hosts.until(lambda: not _runs(before[3][1]), lambda: False, driver.log)  # Ray kills it in its own time


def test_what_a_killed_host_had_is_opened_on_the_other_and_nothing_is_missing(cluster, tmp_path, short):
    first, second = cluster
    driver = _driver(cluster, tmp_path, "1")
    driver.until(lambda: len(_searches(driver)) >= 3)
    assert {node for node, _ in _places(driver).values()} == {first.address, second.address}
    second.kill()
    driver.until(lambda: {node for node, _ in _places(driver).values()} == {first.address})
    (tmp_path / "enough").touch()
    _ended_well(driver)
    assert set(_searches(driver)) == {"same"}
    ray_hosts.join(second, first, short, cpus=2)  # as it was, for whatever test comes next


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
