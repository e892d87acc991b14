"""The packages that training needs, imported first, so that a message names the command that installs them."""

from importlib.util import find_spec

from nirank.errors import MissingDependency

for _package in ("torch", "accelerate", "safetensors"):
    if find_spec(_package) is None:
        raise MissingDependency(
            f"training needs the package {_package!r}, which is not installed. Run: pip install 'nirank[train]'",
            name=_package,
        )
