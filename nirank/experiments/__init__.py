"""Experiments: a file that describes one, running and training it, and the tables and pages of what came of it."""
