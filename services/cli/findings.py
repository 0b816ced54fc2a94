"""What a look at something found, and how it is told."""

from collections.abc import Iterable

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from services.cli.words import out


class Finding(msgspec.Struct, frozen=True):
    """What one look found; `todo` is the way out, and `needed` whether nothing works without it."""

    what: str
    found: str
    ok: bool = True
    todo: str = ""
    needed: bool = True


def tell(findings: Iterable[Finding]) -> None:
    """Print `findings` as a table. Raises `typer.Exit` with 1 when one that is needed is not ok."""
    told = list(findings)
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in told:
        todo = "" if finding.ok else f"\n[bold]{escape(finding.todo)}[/bold]"
        table.add_row(_mark(finding), finding.what, escape(finding.found) + todo)
    out.print(table)
    if any(finding.needed and not finding.ok for finding in told):
        raise typer.Exit(1)


def _mark(finding: Finding) -> str:
    if finding.ok:
        return "[green]✓[/green]"
    return "[red]✗[/red]" if finding.needed else "[yellow]![/yellow]"
