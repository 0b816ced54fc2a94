"""A Pod's volumes as folders, and where its containers find them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.kubernetes.api import NOT_FOUND, Api, Refused, path_of
from tests.kubernetes.kubelet.environment import Missing, Object, Sources, decoded, field_of

READABLE = 0o644
TOKEN_SECONDS = 3600
Files = dict[str, bytes]


class Unsupported(Exception):
    """Something that real kubelets do and this one does not."""


def named(pod: Object) -> Iterator[tuple[str, str]]:
    """Yield kind and name of every ConfigMap and Secret that `pod` names. Pure."""
    for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]:
        for origin in container.get("envFrom") or []:
            yield from _references(origin, "configMapRef", "secretRef")
        for variable in container.get("env") or []:
            yield from _references(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")
    for volume in pod["spec"].get("volumes") or []:
        for source in [volume, *(volume.get("projected") or {}).get("sources", [])]:
            yield from _references(source, "configMap", "secret")


def _references(origin: Object, config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    if config_map in origin:
        yield "configmaps", origin[config_map]["name"]
    if secret in origin:
        yield "secrets", origin[secret].get("secretName") or origin[secret]["name"]


async def sources_of(api: Api, pod: Object) -> Sources:
    """Return the ConfigMaps and Secrets of a Pod, those that are there."""
    found = {}
    for kind, name in set(named(pod)):
        try:
            found[kind, name] = decoded(
                await api.get(path_of(kind, pod["metadata"]["namespace"], name)), kind
            )
        except Refused as e:
            if e.status != NOT_FOUND:
                raise
    return Sources(found)


class Volumes:
    """Makes the volumes of one Pod in `folder`; the folders of claims stay, in `claims`."""

    def __init__(self, api: Api, pod: Object, sources: Sources, folder: Path, claims: Path) -> None:
        self._api = api
        self._pod = pod
        self._sources = sources
        self._folder = folder
        self._claims = claims

    async def make(self) -> dict[str, Path]:
        """Return every volume's folder by its name. Raises `Missing` or `Unsupported`."""
        return {
            volume["name"]: await self._volume(volume) for volume in self._pod["spec"].get("volumes") or []
        }

    async def _volume(self, volume: Object) -> Path:
        if "persistentVolumeClaim" in volume:
            claim = str(volume["persistentVolumeClaim"]["claimName"])
            folder = self._claims / str(self._pod["metadata"]["namespace"]) / claim
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        folder = self._folder / str(volume["name"])
        folder.mkdir(parents=True, exist_ok=True)
        content = volume.get("projected") or volume.get("configMap") or volume.get("secret") or {}
        for name, data in (await self._files(volume)).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(content.get("defaultMode", READABLE))
        return folder

    async def _files(self, source: Object) -> Files:
        if "emptyDir" in source:
            return {}
        if "projected" in source:
            projected = [await self._files(each) for each in source["projected"]["sources"]]
            return {name: data for files in projected for name, data in files.items()}
        if "configMap" in source:
            return self._chosen("configmaps", source["configMap"])
        if "secret" in source:
            return self._chosen("secrets", source["secret"])
        if "downwardAPI" in source:
            items = source["downwardAPI"].get("items") or []
            return {
                item["path"]: field_of(self._pod, item["fieldRef"]["fieldPath"]).encode() for item in items
            }
        if "serviceAccountToken" in source:
            wanted = source["serviceAccountToken"]
            return {wanted["path"]: await self._token(wanted)}
        raise Unsupported(f"volumes such as {json.dumps(source)}")

    def _chosen(self, kind: str, source: Object) -> Files:
        reference = {**source, "name": source.get("secretName") or source.get("name")}
        values = self._sources.all_of(kind, reference)
        if not source.get("items"):
            return dict(values)
        absent = [item["key"] for item in source["items"] if item["key"] not in values]
        if absent and not source.get("optional"):
            raise Missing(f"references non-existent config key: {absent[0]}")
        return {item["path"]: values[item["key"]] for item in source["items"] if item["key"] in values}

    async def _token(self, wanted: Object) -> bytes:
        # It is not renewed: the shortest life that the API server grants is longer than a test.
        metadata = self._pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec: dict[str, Any] = {
            "expirationSeconds": wanted.get("expirationSeconds", TOKEN_SECONDS),
            "boundObjectRef": bound,
            "audiences": [wanted["audience"]] if wanted.get("audience") else [],
        }
        account = self._pod["spec"].get("serviceAccountName", "default")
        path = path_of("serviceaccounts", metadata["namespace"], account, "token")
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        told = await self._api.create(path, request)
        return str(told["status"]["token"]).encode()


def mount(container: Object, volumes: Mapping[str, Path], root: Path) -> list[str]:
    """Lay the volumes of `container` out below `root` as it knows them, and return the paths that it knows."""
    mounts = sorted(container.get("volumeMounts") or [], key=lambda each: str(each["mountPath"]))
    for each in mounts:
        source, place = volumes[each["name"]], root / each["mountPath"].strip("/")
        if each.get("subPath"):
            source /= each["subPath"]
            if not source.exists():
                source.mkdir(parents=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(source)
    return [each["mountPath"] for each in mounts]
