"""What README and docs name exists: commands, targets, variables, links."""

import importlib
import re
from pathlib import Path

import pytest

from services.archiver.settings import ArchiverSettings
from services.cli.app import COMMANDS
from services.cli.place import Operator
from services.ingress.settings import IngressSettings
from services.runtime.settings import names
from services.scheduler.__main__ import SchedulerProcess
from services.scheduler.secrets import PASSWORD, USER
from services.scheduler.settings import SchedulerSettings
from services.worker.settings import AGENT_NAMES, AGENT_PREFIXES, WorkerSettings
from tests.docs.conftest import DOCUMENTS, ROOT, blocks

# A command of ours; after -n it is a namespace.
OURS = r"(?:^|(?<!-n)[ (\"])threadmill ([a-z][a-z-]*)"
GROUPS = {"dead": {"list", "show", "replay"}, "slack": {"manifest"}}
IN_ALL = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def code(document: Path) -> list[str]:
    """Return what stands in code: fenced lines and `inline`."""
    text = document.read_text()
    fenced = [line for block in blocks(document) for line in block.text.splitlines()]
    return fenced + re.findall(
        r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    )


@IN_ALL
def test_every_command_exists(document: Path) -> None:
    for line in code(document):
        for found in re.finditer(rf"{OURS}(?: ([a-z]+))?", line):
            assert found[1] in COMMANDS, line
            if found[1] in GROUPS and found[2]:
                assert found[2] in GROUPS[found[1]], line


@IN_ALL
def test_every_option_exists(document: Path) -> None:
    for line in code(document):
        for found in re.finditer(rf'{OURS}((?: [^|;&`()"]*)?)', line):
            module = COMMANDS[found[1]].partition(":")[0]
            source = Path(str(importlib.import_module(f"services.cli.{module}").__file__)).read_text()
            for option in re.findall(r"(?<=\s)--([a-z-]+)", found[2]):
                field = option.replace("-", "_")
                assert f'"--{option}"' in source or re.search(rf"\b{field}: ", source), line


@IN_ALL
def test_every_make_target_exists(document: Path) -> None:
    makefiles = [ROOT / "Makefile", *(ROOT / "delivery").glob("*.mk")]
    targets = {
        found for file in makefiles for found in re.findall(r"^([a-z]+):", file.read_text(), re.MULTILINE)
    }
    for line in code(document):
        assert set(re.findall(r"(?:^|\s)make ([a-z]+)", line)) <= targets, line


def known_variables() -> set[str]:
    """Return every variable that something of ours reads."""
    settings = {*names(IngressSettings), *names(WorkerSettings), *names(ArchiverSettings), *names(Operator)}
    settings |= {*names(SchedulerSettings, "THREADMILL_SCHEDULER_"), *names(SchedulerProcess)}
    # Keys of the Secret of what agents need.
    settings |= {USER, PASSWORD}
    # Those of an environment that a version is rolled out to.
    workflow = ROOT / ".github" / "workflows" / "roll-out.yml"
    settings |= set(re.findall(r"vars\.([A-Z_]+)", workflow.read_text()))
    # The command line's own, and what the nats CLI reads.
    return settings | {"THREADMILL_DATA", "NATS_URL", "NATS_CREDS", "SESSION", "ARGS", "PATH"}


@IN_ALL
def test_every_variable_is_read(document: Path) -> None:
    known = known_variables()
    for line in code(document):
        for name in re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b", line):
            family = name.startswith(AGENT_PREFIXES) or name in AGENT_NAMES
            ends = [one for one in known if line.startswith("...") and one.endswith(name)]
            assert name in known or family or ends, f"{document.name}: nothing reads {name}"


@IN_ALL
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target


def test_the_readme_names_every_command() -> None:
    told = " ".join(code(ROOT / "README.md"))
    for name in COMMANDS:
        assert f"threadmill {name}" in told, name
