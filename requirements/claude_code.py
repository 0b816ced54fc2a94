"""Writes claude-code.sha256: the version and the checksums of the Claude Code that the worker's lock brings along.

The wheels are fetched by the lock, so their hashes are verified before anything is read from them.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = "claude-agent-sdk"
# Debian's names of the architectures that images are built for, and those of wheels.
PLATFORMS = {"amd64": "manylinux_2_17_x86_64", "arm64": "manylinux_2_17_aarch64"}


def pin() -> str:
    """Return the lock's lines for the package."""
    found = re.search(
        rf"^{PACKAGE}==.*(?:\n    --hash=.*)+", (HERE / "worker.lock").read_text(), re.MULTILINE
    )
    if found is None:
        sys.exit(f"worker.lock does not pin {PACKAGE}")
    return found[0]


def wheel(platform: str, folder: Path) -> Path:
    """Fetch the wheel for `platform` and return where it is."""
    (folder / "pin.txt").write_text(pin() + "\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--platform", platform]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    subprocess.run([*command, "-r", str(folder / "pin.txt")], check=True)
    return next(folder.glob("*.whl"))


def read(archive: zipfile.ZipFile) -> tuple[str, str]:
    """Return the version and the checksum of the Claude Code in a wheel."""
    about = archive.read("claude_agent_sdk/_cli_version.py").decode()
    version = re.search(r'__cli_version__ = "(.+)"', about)
    if version is None:
        sys.exit(f"{PACKAGE} no longer says which Claude Code it brings")
    with archive.open("claude_agent_sdk/_bundled/claude") as program:
        return version[1], hashlib.file_digest(program, "sha256").hexdigest()


def main() -> None:
    """Write the file."""
    lines, versions = [], set()
    for architecture, platform in PLATFORMS.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            zipfile.ZipFile(wheel(platform, Path(folder))) as archive,
        ):
            version, checksum = read(archive)
        versions.add(version)
        lines.append(f"{checksum}  linux-{architecture}\n")
    (only,) = versions
    head = f"# The Claude Code of {pin().split()[0]}; `make lock` writes this file.\nversion {only}\n"
    (HERE / "claude-code.sha256").write_text(head + "".join(lines))


if __name__ == "__main__":
    main()
