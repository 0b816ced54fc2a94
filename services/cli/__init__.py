"""The command line: one module per group of commands, each thin over what the services already can.

What belongs here: arguments, words for people, exit codes. What never does: decisions of the product.
"""

from services.cli.app import main

__all__ = ["main"]
