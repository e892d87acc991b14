"""The checks as pytest collects them: one node a component or plugin, one item a check."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import pytest

from nirank.errors import MissingDependency
from nirank.plugins.loading import active
from nirank.registry import Entry, Plugin
from nirank.testing.contract import Check, checks
from nirank.testing.promises import Broken, Inapplicable
from nirank.testing.subject import Subject

#: Marks the reports of checks, so that the summary finds them.
PROPERTY = "nirank check"


class Contracts(pytest.File):
    """The checks of all chosen plugins, where a conftest.py switches them on."""

    chosen: list[Plugin]
    strict: bool

    def collect(self) -> Iterator[Checked]:
        """One node for each plugin, and one for each of its components."""
        for plugin in self.chosen:
            exceptions = dict(getattr(plugin.module, "contract_exceptions", {}))
            nodes = [self._of_plugin(plugin), *map(self._of_entry, active().registry.of(plugin))]
            self._refuse_unknown(plugin, exceptions, nodes)
            for node in nodes:
                node.exceptions = exceptions
            yield from nodes

    def _of_plugin(self, plugin: Plugin) -> Checked:
        node: Checked = Checked.from_parent(self, name=plugin.name)
        node.label, node.build = str(plugin), lambda: Subject("plugin", plugin)
        node.checks = checks("plugin")[: 1 if plugin.error else None]  # what does not load keeps no other promise
        return node

    def _of_entry(self, entry: Entry) -> Checked:
        node: Checked = Checked.from_parent(self, name=entry.name)
        node.label, node.build = f"{entry.spec} of {entry.plugin}", lambda: _build(entry)
        node.checks = checks(entry.kind) if entry.tiny else []  # that there is a `tiny` is a check of the plugin
        return node

    def _refuse_unknown(self, plugin: Plugin, exceptions: Mapping[str, str], nodes: list[Checked]) -> None:
        known = {f"{node.name}::{check.name}" for node in nodes for check in node.checks}
        for name in exceptions.keys() - known:
            raise self.CollectError(
                f"contract_exceptions of {plugin} names {name!r}, which is not one of its checks: correct or remove it."
            )


class Checked(pytest.Collector):
    """One plugin, or one component, which is built when its first check runs."""

    label: str
    build: Callable[[], Subject]
    checks: list[Check]
    exceptions: Mapping[str, str]

    def collect(self) -> Iterator[Item]:
        """One item for each check; an exception is a strict expected failure with its reason."""
        for check in self.checks:
            item: Item = Item.from_parent(self, name=check.name)
            item.check = check
            reason = self.exceptions.get(f"{self.name}::{check.name}")
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
            yield item

    @functools.cached_property
    def subject(self) -> Subject:
        """The component that is checked."""
        return self.build()


class Item(pytest.Item):
    """One check of one component."""

    parent: Checked
    check: Check

    def runtest(self) -> None:
        """Run the check, without the network; what is missing or does not apply is skipped with its reason."""
        self.user_properties.append((PROPERTY, f"{self.parent.name}::{self.name}"))
        try:
            with offline():
                self.check.function(self.parent.subject)
        except Inapplicable as reason:
            pytest.skip(f"{self.parent.label}: {reason}")
        except MissingDependency as error:
            self._missing(error)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message of a broken promise; anything else with its traceback."""
        if isinstance(excinfo.value, Broken):
            return f"{self.parent.label} breaks {self.name}: {excinfo.value}\nThe promise: {self.check.promise}"
        excinfo.traceback = excinfo.traceback.cut(path=self.check.function.__code__.co_filename)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """The name that pytest shows: `bm25::generator/no_duplicates`."""
        return self.path, None, f"{self.parent.name}::{self.name}"

    def _missing(self, error: MissingDependency) -> None:
        contracts = self.parent.parent
        if isinstance(contracts, Contracts) and contracts.strict:
            pytest.fail(f"{error} (a failure where CI is set, or with --nirank-strict)", pytrace=False)
        pytest.skip(f"{self.parent.label}: {error}")


def _build(entry: Entry) -> Subject:
    return Subject(entry.kind, entry.resolve_tiny()(), entry)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Refuse to look up any host, and every connection but those inside the machine's own file system."""
    connect = socket.socket.connect

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        raise Broken(f"it connects to {host}: a component built by its `tiny` needs no network.")

    def connect_inside(self: socket.socket, address: Any) -> None:
        connect(self, address) if self.family == getattr(socket, "AF_UNIX", None) else refuse(address)

    with mock.patch.object(socket.socket, "connect", connect_inside), mock.patch("socket.getaddrinfo", refuse):
        yield
