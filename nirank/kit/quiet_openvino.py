"""OpenVINO imported without what would report its use.

It does so to its makers when it is imported and when its `convert_model` is called, unless the user has opted out. So
the package that sends is out of sight while OpenVINO is imported, and that function is not called.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from typing import Any

from nirank.errors import MissingDependency

_SENDER = "openvino_telemetry"


def openvino_installed() -> bool:
    """True where OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino(module: str) -> Any:
    """A module of OpenVINO. Raises `MissingDependency` where it is not installed."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == _SENDER}
    sys.modules[_SENDER] = None  # type: ignore[assignment] # for Python: a package that cannot be imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "runtime = 'openvino' needs the package openvino. Run: pip install 'nirank[openvino]'", name=error.name
        ) from error
    finally:
        del sys.modules[_SENDER]
        sys.modules.update(hidden)
