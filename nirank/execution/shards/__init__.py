"""Shards: an index in parts, each opened by a process of its own, that together answer as one index does."""
