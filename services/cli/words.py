"""How the command line speaks: answers on standard output, everything else on standard error."""

import sys
from typing import NoReturn

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Say one sentence and end."""
    err.print(f"[red]threadmill:[/red] {_plain(sentence)}", soft_wrap=True)
    sys.exit(code)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
