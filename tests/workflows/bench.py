"""A bench for the steps of the workflows, with stand-ins for the programs that would reach outside."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = 'echo "$(basename "$0") $*" >> "$RECORD"\n'
# Where $UNBUILT exists, no image is there; the sleep number $MINUTES takes it away.
DOCKER = '[ ! -e "$UNBUILT" ] || { echo "not found" >&2; exit 1; }\n'
DOCKER += 'case "$*" in *inspect*) for last; do :; done; echo "sha256:$(echo "${last%:*}" | sha256sum | cut -c1-64)";; esac\n'
COSIGN = 'case "$*" in *"${UNSIGNED:-nothing}"*) exit 1;; esac\n'
SLEEP = 'if [ "$(grep -c ^sleep "$RECORD")" = "${MINUTES:-none}" ]; then rm "$UNBUILT"; fi\n'
KUBECTL = 'case "$1" in kustomize) exec "$KUBECTL" "$@";; apply) cp "$3" "$APPLIED";; esac\n'
REGISTRY = "registry.example/team/threadmill"


class Bench:
    """A copy of the steps, in a folder with an overlay, and the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record, self.applied = folder / "record", folder / "applied.yaml"
        self.unbuilt = folder / "unbuilt"
        shutil.copytree(ROOT / "delivery", folder / "delivery")
        programs = {"docker": DOCKER, "cosign": COSIGN, "kubectl": KUBECTL, "sleep": SLEEP}
        (folder / "bin").mkdir()
        for name, text in programs.items():
            self.stand_in(name, text)

    def stand_in(self, name: str, text: str) -> None:
        """Have the shell's `text` run in place of the program `name`."""
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{RECORD}{text}")
        program.chmod(0o755)

    def run(self, step: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "RECORD": str(self.record)}
        given |= {"APPLIED": str(self.applied), "UNBUILT": str(self.unbuilt)}
        given |= {"REGISTRY": REGISTRY, "KUBECTL": kubectl() or ""}
        command = ["sh", f"delivery/{step}"]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=given | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


def kubectl() -> str | None:
    cached = sorted((ROOT / ".cache" / "kube").glob("*/kubectl"))
    return shutil.which("kubectl") or next(map(str, cached), None)


def digest(image: str) -> str:
    return hashlib.sha256(f"{REGISTRY}/{image}\n".encode()).hexdigest()
