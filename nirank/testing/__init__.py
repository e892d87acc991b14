"""The contract checks, as a pytest plugin that one switches on: in the conftest.py of a plugin's tests

    pytest_plugins = ["nirank.testing"]

Then `pytest` also runs the checks of this package on every component that the chosen plugins register, each
built from its `tiny` factory, without the network: `demo::scorer/query_alone` and so on. Chosen are the loaded
plugins that are not blocked, or those that the command line (`--nirank-plugin NAME`) or the configuration name:

    [tool.pytest.ini_options]
    nirank_plugins = ["demo_ranker"]

A check is not switched off. Where a component cannot keep a promise, its plugin says so, with the reason, in

    contract_exceptions = {"demo::scorer/deterministic": "samples its negatives anew"}

beside its hooks: an expected failure, strict (it fails once the promise is kept), and listed in the summary.

In an interpreter, `violations("scorer", MyScorer())` tells which promises an object does not keep.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank import faces
from nirank.errors import UnknownName
from nirank.plugins.loading import active
from nirank.registry import Plugin
from nirank.testing.contract import checks, violations

if TYPE_CHECKING:  # without pytest one can still ask for violations, and build what is small
    import pytest

    from nirank.testing.nodes import Contracts

if TYPE_CHECKING:
    from nirank.testing import samples as samples
    from nirank.testing.models import letter_tokenizer as letter_tokenizer
    from nirank.testing.models import save_bert as save_bert

_MODELS = {"nirank.testing": ["samples"], "nirank.testing.models": ["letter_tokenizer", "save_bert"]}
__all__ = ["checks", "letter_tokenizer", "samples", "save_bert", "violations"]
__getattr__ = faces.lazily(__name__, _MODELS)[0]  # pytest finds what this plugin implements by its `dir`


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("nirank")
    group.addoption("--nirank-plugin", action="append", metavar="NAME", help="check this plugin only; repeatable")
    group.addoption("--nirank-strict", action="store_true", help="fail where a dependency is missing, as if CI is set")
    parser.addini("nirank_plugins", "the plugins to check; default: all that are loaded", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the name of a plugin that is not there before anything runs."""
    _chosen(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Contracts | None:
    """Collect the checks in the place of the conftest.py that switches them on."""
    if file_path.name != "conftest.py" or not _switches_on(parent.config, file_path):
        return None
    from nirank.testing.nodes import Contracts

    node: Contracts = Contracts.from_parent(parent, path=file_path)
    node.chosen = _chosen(parent.config)
    node.strict = bool(parent.config.getoption("--nirank-strict") or os.environ.get("CI"))
    return node


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the exceptions that plugins declare."""
    from nirank.testing.nodes import PROPERTY

    reports = terminalreporter.getreports("xfailed")
    excepted = [(dict(report.user_properties).get(PROPERTY), report.wasxfail) for report in reports]
    lines = [f"{name}: {reason}" for name, reason in excepted if name]
    if lines:
        terminalreporter.section("exceptions from the nirank contract")
        terminalreporter.write_line("\n".join(lines))


def _chosen(config: pytest.Config) -> list[Plugin]:
    import pytest

    known = {plugin.name: plugin for plugin in active().known if not plugin.blocked}
    names = config.getoption("--nirank-plugin") or config.getini("nirank_plugins") or known
    for name in names:
        if name not in known:
            hint = "`nirank plugins` lists those that are installed; NIRANK_BLOCK may leave some out."
            raise pytest.UsageError(str(UnknownName("plugin", name, known, hint)))
    return [known[name] for name in dict.fromkeys(names)]


def _switches_on(config: pytest.Config, path: Path) -> bool:
    for module in config.pluginmanager.get_plugins():
        if getattr(module, "__file__", None) == str(path):
            return __name__ in getattr(module, "pytest_plugins", [])
    return False
