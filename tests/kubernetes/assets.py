"""The control plane's programs: from KUBEBUILDER_ASSETS, else built from their Go modules and kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "v1.36.3"
MODULE = Path(__file__).with_name("go")
CACHE = Path(__file__).parents[2] / ".cache" / "kube" / VERSION
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
COMMANDS = [f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS[1:]]


class NoAssets(Exception):
    """They are not there and cannot be built; the message says what would help."""


def folder() -> Path:
    """Return where all of PROGRAMS are. Raises `NoAssets`."""
    for place in (Path(os.environ.get("KUBEBUILDER_ASSETS", "")), CACHE):
        if all((place / name).is_file() for name in PROGRAMS):
            return place
    raise NoAssets(
        "no Kubernetes control plane here: run `make kube-assets`, or set KUBEBUILDER_ASSETS to one"
    )


def build() -> Path:
    """Build them where they are missing, and return where they are; takes about five minutes. Raises `NoAssets`."""
    try:
        return folder()
    except NoAssets:
        pass
    if shutil.which("go") is None:
        raise NoAssets(
            "building Kubernetes needs Go; or set KUBEBUILDER_ASSETS to a folder with its programs"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    about = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    stamps = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in about.items())
    flags = ["-trimpath", "-ldflags", f"-s -w {stamps}"]
    for target, commands in ((CACHE / "etcd", ["."]), (CACHE, COMMANDS)):
        print(f"building {' '.join(commands)} into {target} ...", file=sys.stderr, flush=True)
        done = subprocess.run(["go", "build", *flags, "-o", str(target), *commands], cwd=MODULE, check=False)
        if done.returncode:
            raise NoAssets("a program of Kubernetes could not be built; what Go said stands above")
    return CACHE


if __name__ == "__main__":
    try:
        print(build())
    except NoAssets as e:
        sys.exit(str(e))
