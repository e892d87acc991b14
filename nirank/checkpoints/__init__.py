"""Checkpoints: the folders that trained components are loaded from, and the scores that check them."""
