"""Experiments: read from a file, run or trained, and reported in tables and pages."""
