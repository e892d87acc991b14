"""A corpus encoded on two hosts by Ray: to the bit as on one, also where a worker, a host or the driver is killed."""

from __future__ import annotations

import os
import re
import signal

import pytest

from nirank.data import write_corpus
from tests.distributed import hosts, ray_hosts
from tests.distributed.slow_letters import POISON

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not hosts.permitted(), reason="this process may not make network namespaces"),
]

CHUNK, DOCUMENTS = 1024, 14_000
RANGES = [f"{start}-{min(start + CHUNK, DOCUMENTS)}" for start in range(0, DOCUMENTS, CHUNK)]
SLOW = "0.7"


@pytest.fixture(scope="module")
def cluster(short):
    with hosts.two_hosts() as (first, second):
        ray_hosts.start_head(first, short)
        ray_hosts.join(second, first, short)
        yield first, second


def _corpus(path, documents=DOCUMENTS, poisoned=None):
    texts = [f"text {number} " + "abcdefghijklmnop"[: number % 17] for number in range(documents)]
    if poisoned is not None:
        texts[poisoned] = POISON
    return write_corpus(path, [{"id": [str(number) for number in range(documents)], "text": texts}], ["text"])


@pytest.fixture(scope="module")
def corpus(short):
    return _corpus(short / "corpus.arrow").path


@pytest.fixture(scope="module")
def expected(short, corpus, cluster):
    """The files of an index that the driver made alone."""
    driver = ray_hosts.Driver(
        cluster[0], short / "alone.log", "alone", str(corpus), str(short / "alone"), "slow_letters"
    )
    assert driver.end() == 0, driver.says()
    return _files(short / "alone")


def _files(folder):
    """The bytes of each file, those that say when and by what they were made left out."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("manifest.json", "seal.json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def _driver(cluster, tmp_path, corpus, *more, name="driver", encoder="slow_letters", **variables):
    address = f"{cluster[0].address}:{ray_hosts.PORT}"
    arguments = (address, str(corpus), str(tmp_path / "index"), encoder, *more)
    return ray_hosts.Driver(cluster[0], tmp_path / f"{name}.log", *arguments, **variables)


def _ended_well(driver, tmp_path, expected):
    assert driver.end() == 0, driver.says()
    assert _files(tmp_path / "index") == expected


def _at_work_on_both(driver, cluster, ranges=3):
    driver.until(lambda: len(driver.ready()) == 2 and len(driver.came()) >= ranges)


def test_two_hosts_make_the_index_that_one_makes(cluster, tmp_path, corpus, expected):
    driver = _driver(cluster, tmp_path, corpus, "0.2")
    _ended_well(driver, tmp_path, expected)
    assert sorted(driver.ready()) == [host.address for host in cluster]
    assert sorted(one for _, one in driver.came()) == sorted(RANGES)
    assert all(int(count) > 1 for count in re.findall(r": (\d+) ranges", driver.says()))


def test_rows_are_sent_of_a_corpus_that_is_in_no_file(cluster, tmp_path, corpus, expected):
    _ended_well(_driver(cluster, tmp_path, corpus, "0.0", "rows"), tmp_path, expected)


def test_workers_read_ranges_of_a_corpus_at_a_url(cluster, tmp_path, corpus, expected):
    pytest.importorskip("fsspec")
    driver = _driver(cluster, tmp_path, f"file://{corpus}", NIRANK_CACHE=str(tmp_path / "cache"))
    _ended_well(driver, tmp_path, expected)
    assert driver.says().count("it reads the documents itself") == driver.says().count("a worker is ready") > 0


@pytest.mark.parametrize(
    ("encoder", "package"),
    [
        ("small_colbert:maxsim", "transformers"),
        ("small_colbert:plaid", "numba"),
        ("small_splade:impact", "transformers"),
        ("letter_codes:codes", "numba"),
    ],
)
def test_indexes_of_tokens_terms_and_codes_are_those_that_one_makes(cluster, tmp_path, encoder, package):
    pytest.importorskip(package)
    corpus = _corpus(tmp_path / "corpus.arrow", 150).path
    alone = ray_hosts.Driver(cluster[0], tmp_path / "alone.log", "alone", str(corpus), str(tmp_path / "alone"), encoder)
    assert alone.end() == 0, alone.says()
    driver = _driver(cluster, tmp_path, corpus, encoder=encoder)
    _ended_well(driver, tmp_path, _files(tmp_path / "alone"))
    assert sorted(one for _, one in driver.came()) == ["0-64", "128-150", "64-128"]
    assert re.search(r": \d+ ranges", driver.says())


def test_what_a_killed_worker_had_is_encoded_by_another(cluster, tmp_path, corpus, expected):
    driver = _driver(cluster, tmp_path, corpus, SLOW)
    _at_work_on_both(driver, cluster)
    os.kill(driver.ready()[cluster[1].address][0], signal.SIGKILL)
    _ended_well(driver, tmp_path, expected)
    assert sorted(one for _, one in driver.came()) == sorted(RANGES)
    assert driver.says().count("are given out again") in (1, 2)
    assert len(driver.ready()[cluster[1].address]) == 2


def test_a_killed_driver_loses_the_ranges_under_way_at_most(cluster, tmp_path, corpus, expected):
    first = _driver(cluster, tmp_path, corpus, SLOW, name="first")
    _at_work_on_both(first, cluster, ranges=5)
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    second = _driver(cluster, tmp_path, corpus, SLOW, name="second")
    _ended_well(second, tmp_path, expected)
    came, again = ({one for _, one in driver.came()} for driver in (first, second))
    assert came | again == set(RANGES)
    assert len(came & again) <= 1  # the one that was being written


def test_a_range_that_ends_every_worker_ends_the_build_and_says_which(cluster, tmp_path):
    driver = _driver(cluster, tmp_path, _corpus(tmp_path / "corpus.arrow", 3000, poisoned=1500).path, "0.0")
    assert driver.end() == 1
    assert "documents 1,024 up to 2,048 were given to 3 workers of Ray, and each died" in driver.says()


def test_another_encoder_on_the_other_hosts_is_refused(cluster, tmp_path, corpus):
    driver = _driver(cluster, tmp_path, corpus, "0.0", SLOW_LETTERS="of another version")
    assert driver.end() == 1
    assert "slow_letters is another encoder here: its fingerprint is" in driver.says()
    assert not (tmp_path / "index" / "manifest.json").exists()


def test_what_a_killed_host_had_is_encoded_by_the_other(cluster, tmp_path, corpus, expected, short):
    first, second = cluster
    driver = _driver(cluster, tmp_path, corpus, SLOW)
    _at_work_on_both(driver, cluster)
    second.kill()
    _ended_well(driver, tmp_path, expected)
    assert sorted(one for _, one in driver.came()) == sorted(RANGES)
    ray_hosts.join(second, first, short)  # as it was, for whatever test comes next
