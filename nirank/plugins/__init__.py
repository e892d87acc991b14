"""Plugins: components and what registers them, and the plugins of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.build import build as build
    from nirank.component import CandidateGenerator as CandidateGenerator
    from nirank.component import Component as Component
    from nirank.component import DocumentEncoder as DocumentEncoder
    from nirank.component import Loss as Loss
    from nirank.component import Middleware as Middleware
    from nirank.component import QueryEncoder as QueryEncoder
    from nirank.component import Rewriter as Rewriter
    from nirank.component import Scorer as Scorer
    from nirank.hooks import hookimpl as hookimpl
    from nirank.plugins.loading import active as active
    from nirank.plugins.loading import load_file as load_file
    from nirank.registry import Entry as Entry
    from nirank.registry import Plugin as Plugin
    from nirank.registry import PluginRegistry as PluginRegistry
    from nirank.traits import Traits as Traits

_HOMES = {
    "nirank.build": ["build"],
    "nirank.component": [
        "CandidateGenerator",
        "Component",
        "DocumentEncoder",
        "Loss",
        "Middleware",
        "QueryEncoder",
        "Rewriter",
        "Scorer",
    ],
    "nirank.hooks": ["hookimpl"],
    "nirank.plugins.loading": ["active", "load_file"],
    "nirank.registry": ["Entry", "Plugin", "PluginRegistry"],
    "nirank.traits": ["Traits"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
