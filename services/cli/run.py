"""`run`: one service as a process of its own."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer


class Name(StrEnum):
    """The services."""

    ingress = "ingress"
    scheduler = "scheduler"
    worker = "worker"
    archiver = "archiver"


def run(service: Annotated[Name, typer.Argument(help="Which service.", metavar="SERVICE")]) -> None:
    """Run ingress, scheduler, worker or archiver as a process of its own.

    Its settings come from the environment: THREADMILL_..., SLACK_...
    """
    os.execv(sys.executable, [sys.executable, "-m", f"services.{service.value}"])  # noqa: S606 (our own module)
