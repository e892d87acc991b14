"""Two hosts on one machine, as the other tests of this folder use them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.distributed import hosts

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not hosts.permitted(), reason="this process may not make network namespaces"),
]

_LISTEN = "import socket, sys; s = socket.create_server((sys.argv[1], 7777)); print('up', flush=True); s.accept()"
_REACH = "import socket, sys; socket.create_connection((sys.argv[1], 7777), 2); print('reached')"


def _reach(host, address):
    return host.run(sys.executable, "-c", _REACH, address, capture_output=True, text=True).stdout.strip()


def test_each_host_reaches_the_other_by_its_address_and_not_by_loopback():
    with hosts.two_hosts() as (first, second):
        server = first.start(sys.executable, "-c", _LISTEN, first.address, stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "up\n"
        assert _reach(second, "127.0.0.1") == ""
        assert _reach(second, first.address) == "reached"
        server.stdout.close()


def test_a_killed_host_leaves_no_process_and_an_unplugged_one_is_not_reached():
    with hosts.two_hosts() as (first, second):
        server = first.start(sys.executable, "-c", _LISTEN, first.address, stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "up\n"
        second.unplug()
        assert _reach(second, first.address) == ""
        first.kill()
        assert first.pids() == []
        assert server.returncode is not None
        server.stdout.close()
