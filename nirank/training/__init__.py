"""Training: any loss trains any scorer or encoder (`nirank.fit`), from Python or from an experiment (`nirank.train`).

Read `fitting` first: its loop is short, and names the other modules as it uses them.
"""

from importlib.util import find_spec

from nirank.errors import MissingDependency

for _package in ("torch", "accelerate", "safetensors"):
    if find_spec(_package) is None:
        raise MissingDependency(
            f"training needs the package {_package!r}, which is not installed. Run: pip install 'nirank[train]'",
            name=_package,
        )
