"""Execution: stages dispatched through their hooks and run in batches, and their indexes on disk."""
