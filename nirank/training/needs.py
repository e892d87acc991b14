"""What training needs: imported before anything else of it, so that a missing package is told by the command that helps."""

from importlib.util import find_spec

from nirank.errors import MissingDependency

for _package in ("torch", "accelerate", "safetensors"):
    if find_spec(_package) is None:
        raise MissingDependency(
            f"training needs the package {_package!r}, which is not installed. Run: pip install 'nirank[train]'",
            name=_package,
        )
