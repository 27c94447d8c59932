"""The command line: commands only, no logic."""

from cloudchamber.cli.app import main

__all__ = ["main"]
