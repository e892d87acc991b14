"""Switches on the contract checks of nirank."""

pytest_plugins = ["nirank.testing"]
