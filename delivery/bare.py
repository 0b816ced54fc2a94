"""Gathers what a Python program needs to run, and nothing else: no shell, no package manager, no pip.

Run as `python3 bare.py ROOT` in the image in which the program was installed into /opt/threadmill. ROOT then holds the
interpreter, the standard library, the program, the shared libraries that they are linked to, certificates, two users.
"""

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PROGRAM = Path("/opt/threadmill")
UID = 10001
# Of the standard library: what installs, edits or teaches, and what the base has installed beside it.
LEFT_OUT = shutil.ignore_patterns(
    "site-packages", "dist-packages", "ensurepip", "venv", "idlelib", "lib2to3", "tkinter", "turtle*", "pydoc_data",
    "test", "tests", "config-*", "_tkinter*", "__pycache__",
)  # fmt: skip
# The C library loads the first by itself when a thread ends; the others are read by name.
LIBRARIES = ("libgcc_s.so.1",)
FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ld.so.cache", "/etc/os-release", "/etc/debian_version")
WRITTEN = {
    "etc/passwd": f"root:x:0:0::/:/\nthreadmill:x:{UID}:{UID}::/tmp:/\n",
    "etc/group": f"root:x:0:\nthreadmill:x:{UID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class Root:
    """The root of an image in the making; remembers which files of this one it took."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken: set[Path] = set()
        for name in ("bin", "sbin", "lib", "lib64"):
            if (link := Path("/", name)).is_symlink():
                self.inside(link).parent.mkdir(parents=True, exist_ok=True)
                self.inside(link).symlink_to(link.readlink())
                self.inside(link.resolve()).mkdir(parents=True, exist_ok=True)

    def inside(self, path: Path) -> Path:
        """Return where `path` is in the new root."""
        return self.path / path.relative_to("/")

    def take(self, path: Path) -> None:
        """Copy a file, and where it is a link all that it leads to."""
        path = path.parent.resolve() / path.name
        if path in self.taken:
            return
        self.taken.add(path)
        self.inside(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, self.inside(path), follow_symlinks=False)
        if path.is_symlink():
            self.take(path.parent / path.readlink())

    def take_tree(self, path: Path) -> None:
        """Copy a folder but for what is left out; links stay links."""
        shutil.copytree(path, self.inside(path), symlinks=True, ignore=LEFT_OUT if path != PROGRAM else None)


def needed(root: Path) -> Iterator[Path]:
    """Yield the shared libraries that the programs and modules under `root` are linked to. Raises `SystemExit`."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
            told = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
            if missing := re.findall(r"(\S+) => not found", told):
                sys.exit(f"{path} needs {', '.join(missing)}, which is not here")
            yield from (
                Path(found)
                for found in re.findall(r"(?:=> |^\s)(/\S+) \(0x", told, re.MULTILINE)
                if not found.startswith(str(root))
            )


def libraries(root: Root) -> None:
    """Take what is linked to, and what the C library loads by itself."""
    for path in set(needed(root.path)):
        root.take(path)
    beside = Path(sysconfig.get_config_var("MULTIARCH") or "")
    for name in LIBRARIES:
        root.take(Path("/usr/lib") / beside / name)


def packages(root: Root) -> None:
    """Write down which of Debian's packages the files are of, where scanners look in an image without dpkg."""
    status = root.path / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    names = {str(path) for path in root.taken}
    # dpkg knows a file by the name that it had before /lib became a link.
    names |= {name.removeprefix("/usr") for name in names}
    told = subprocess.run(
        ["dpkg-query", "--search", *sorted(names)], capture_output=True, text=True, check=False
    ).stdout
    for package in {line.split(": ")[0].split(",")[0] for line in told.splitlines() if ": " in line}:
        about = subprocess.run(
            ["dpkg-query", "--status", package], capture_output=True, text=True, check=True
        ).stdout
        (status / package.split(":")[0]).write_text(about)


def main(root: Root) -> None:
    """Gather everything into `root`."""
    root.take(Path(sys.executable))
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        root.take_tree(Path(folder))
    root.take_tree(PROGRAM)
    for name in FILES:
        root.take(Path(name))
    libraries(root)
    packages(root)
    for name, text in WRITTEN.items():
        (root.path / name).write_text(text)
    (root.path / "tmp").mkdir()
    (root.path / "tmp").chmod(0o1777)
    compileall.compile_dir(
        root.inside(Path(sysconfig.get_path("stdlib"))),
        quiet=2,
        stripdir=str(root.path),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


if __name__ == "__main__":
    os.umask(0o022)
    main(Root(Path(sys.argv[1])))
