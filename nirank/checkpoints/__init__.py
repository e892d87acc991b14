"""Checkpoints: what a trained component is loaded from, and the scores that it is held to."""
