"""`credentials`: keys for a deployment, so that each client has its rights on the bus and no others."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.rights import CLIENTS
from schemas.worker_rights import DOOR
from services.cli.words import err
from services.local.keys import made


def credentials(
    out: Annotated[Path, typer.Option("--out", help="The folder to write them to; only you can read it.")],
) -> None:
    """Write the keys of a deployment: what the broker includes, one creds file per service, the key by which the scheduler signs workers.

    Run again on the same folder, it gives every client a fresh credential of the same account, and the broker what this version wants it to include.
    """
    keys = made(out.expanduser().absolute())
    typer.echo(f"{keys.broker}  for the broker: include it in nats.conf")
    for client in CLIENTS:
        typer.echo(f"{keys.of(client.name)}  for the {client.name}: THREADMILL_NATS_CREDS")
    typer.echo(f"{keys.of(DOOR.name)}  for workers in a cluster, to knock with; it opens nothing by itself")
    typer.echo(
        f"{keys.workers}  for the scheduler alone: THREADMILL_SIGNING_KEY, it makes the workers' credentials"
    )
    typer.echo(
        f"{keys.services}, {keys.door}  for nobody: keep them apart, they make fresh credentials in this folder"
    )
    err.print("keep the folder as secret as the sessions are; nothing in it can be made again if it is lost")
