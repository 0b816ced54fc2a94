"""An overlay on top of `ci`, as an operator would write one: other settings, another pool, another worker image."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]
CI = ROOT / "k8s" / "overlays" / "ci"
RELEASED = "0.1.0"


def overlay(
    folder: Path,
    *,
    scheduler: Mapping[str, object] | None = None,
    archiver: Mapping[str, object] | None = None,
    pool: Mapping[str, Any] | None = None,
    worker: str = RELEASED,
) -> Path:
    """Write one into `folder` and return it: settings without their prefix, fields of the pool, the tag of the worker."""
    folder.mkdir(parents=True, exist_ok=True)
    pools = msgspec.yaml.decode((CI / "pools.yaml").read_bytes())
    changed = dict(pool or {})
    changed["environment"] = pools["pools"]["default"]["environment"] | changed.get("environment", {})
    pools["pools"]["default"] |= changed
    (folder / "pools.yaml").write_bytes(msgspec.yaml.encode(pools))
    (folder / "images.yaml").write_bytes((CI / "images.yaml").read_bytes())
    (folder / "kustomization.yaml").write_bytes(
        msgspec.yaml.encode(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [os.path.relpath(CI, folder.resolve())],
                "configurations": ["images.yaml"],
                "images": [{"name": "threadmill/worker", "newTag": worker}],
                "configMapGenerator": [
                    _merged("pools", files=["pools.yaml"]),
                    _merged("scheduler", literals=_literals("THREADMILL_SCHEDULER_", scheduler or {})),
                    _merged("archiver", literals=_literals("THREADMILL_", archiver or {})),
                ],
            }
        )
    )
    return folder


def _merged(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "threadmill", "behavior": "merge"} | more


def _literals(prefix: str, settings: Mapping[str, object]) -> list[str]:
    return [f"{prefix}{name.upper()}={value}" for name, value in settings.items()]
