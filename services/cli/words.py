"""How the command line speaks: answers on standard output, everything else on standard error.

Colour only on a terminal and without NO_COLOR; what goes into a pipe is never wrapped or cut.
"""

import sys
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

# Wider than any line of ours.
UNWRAPPED = 100_000


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    return console


out = _console(stderr=False)
err = _console(stderr=True)


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Say one sentence and end."""
    err.print(f"[red]threadmill:[/red] {escape(sentence)}", soft_wrap=True)
    sys.exit(code)
