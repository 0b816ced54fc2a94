"""Rules for what refers to what: labels to pods, names to objects, ports to what listens. Each returns what is wrong."""

from collections.abc import Iterator
from typing import Any

from tests.kubernetes.manifests import Object, containers, named, of_kind, ports, templates, title
from tests.kubernetes.policies import NAME_LABEL, selects


def _pods(found: list[Object]) -> list[tuple[str, Object]]:
    """Return each pod template with its namespace."""
    return [(owner["metadata"]["namespace"], template) for owner, template in templates(found)]


def _singly(selector: Object) -> Iterator[Object]:
    """Yield a selector for each of the values that one names: every one of them is meant to be there."""
    lists = selector.get("matchExpressions") or []
    if not lists:
        yield selector
    for expression in lists:
        for value in expression.get("values") or []:
            yield {"matchExpressions": [expression | {"values": [value]}]}


def _selected(found: list[Object], namespace: str | None, selector: Object) -> list[Object]:
    return [
        template
        for where, template in _pods(found)
        if namespace in {None, where} and selects(selector, template["metadata"]["labels"])
    ]


def _peers(policy: Object) -> Iterator[tuple[Object, Object]]:
    for way in ("ingress", "egress"):
        for rule in policy["spec"].get(way) or ():
            for peer in rule.get("to") or rule.get("from") or ():
                yield rule, peer


def _namespace_of(peer: Object, policy: Object) -> str:
    labels = (peer.get("namespaceSelector") or {}).get("matchLabels") or {}
    return str(labels.get(NAME_LABEL, policy["metadata"]["namespace"]))


def _selectors(found: list[Object]) -> Iterator[tuple[str, str | None, Object]]:
    """Yield who selects, in which namespace, and what."""
    ours = {each["metadata"]["name"] for each in of_kind(found, "Namespace")}
    for each in of_kind(found, "Service"):
        if labels := each["spec"].get("selector"):
            yield title(each), each["metadata"]["namespace"], {"matchLabels": labels}
    for each in of_kind(found, "PodDisruptionBudget", "PodMonitor", "Deployment", "StatefulSet"):
        yield title(each), each["metadata"]["namespace"], each["spec"]["selector"]
    for each in of_kind(found, "NetworkPolicy"):
        yield title(each), each["metadata"]["namespace"], each["spec"]["podSelector"]
        for _, peer in _peers(each):
            if "podSelector" in peer and (where := _namespace_of(peer, each)) in ours:
                yield title(each), where, peer["podSelector"]


def selectors(found: list[Object]) -> list[str]:
    """Whatever is selected is there, each value of a list by itself."""
    return [
        f"{who} selects {one}, which no pod has"
        for who, namespace, selector in _selectors(found)
        for one in _singly(selector)
        if not _selected(found, namespace, one)
    ]


def spreading(found: list[Object]) -> list[str]:
    """Pods keep away from pods of their own kind."""
    problems = []
    for owner, template in templates(found):
        spec = template["spec"]
        apart = spec.get("affinity", {}).get("podAntiAffinity", {})
        terms = [
            *spec.get("topologySpreadConstraints", ()),
            *apart.get("requiredDuringSchedulingIgnoredDuringExecution", ()),
        ]
        problems += [
            f"{title(owner)} keeps away from {term['labelSelector']}, which it is not"
            for term in terms
            if not selects(term["labelSelector"], template["metadata"]["labels"])
        ]
    return problems


def targets(found: list[Object]) -> list[str]:
    """What an HPA scales is there, keeps its state elsewhere, and asks for processors; budgets hold no percentage."""
    problems = []
    for each in of_kind(found, "HorizontalPodAutoscaler"):
        of = each["spec"]["scaleTargetRef"]
        there = [one for one in of_kind(found, of["kind"]) if one["metadata"]["name"] == of["name"]]
        if of["kind"] != "Deployment" or not there:
            problems.append(f"{title(each)} scales {of['kind']} {of['name']}: no Deployment")
            continue
        requests = [
            one["resources"]["requests"].get("cpu") for one in containers(there[0]["spec"]["template"])
        ]
        if not all(requests):
            problems.append(f"{title(each)} measures processors by requests that are not there")
    return problems


def budgets(found: list[Object]) -> list[str]:
    """Everybody who must not leave at once has a budget, in numbers, and one that lets a node be drained."""
    problems = []
    for each in of_kind(found, "PodDisruptionBudget"):
        spec = each["spec"]
        if not all(isinstance(spec[key], int) for key in ("minAvailable", "maxUnavailable") if key in spec):
            problems.append(f"{title(each)} counts in percent")
        elif spec.get("maxUnavailable", 1) < 1 or "minAvailable" in spec:
            problems.append(f"{title(each)} lets no node be drained when there is one replica")
    held = [each["spec"]["selector"] for each in of_kind(found, "PodDisruptionBudget")]
    for owner, template in templates(found):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        wanted = component in {"ingress", "scheduler", "archiver", "nats"}
        if wanted != any(selects(one, template["metadata"]["labels"]) for one in held):
            problems.append(f"{title(owner)}: {'no budget' if wanted else 'a budget that means nothing'}")
    return problems


def listening(found: list[Object]) -> list[str]:
    """Ports that Services, probes and policies name are declared by the pods that they mean."""
    problems = []
    for each in of_kind(found, "Service"):
        pods = _selected(found, each["metadata"]["namespace"], {"matchLabels": each["spec"].get("selector")})
        problems += [
            f"{title(each)} sends to {port['targetPort']}, which its pod does not declare"
            for port in each["spec"].get("ports", ())
            for pod in pods
            if port["targetPort"] not in ports(pod)
        ]
    for owner, template in templates(found):
        for container in containers(template):
            own = {port["name"] for port in container.get("ports", ())}
            problems += [
                f"{title(owner)}: {name} asks port {asked} of {container['name']}"
                for name, probe in container.items()
                if name.endswith("Probe") and (asked := _asked(probe)) not in own
            ]
    return problems + _policies_ports(found)


def _asked(probe: Object) -> str | int | None:
    how = probe.get("httpGet") or probe.get("tcpSocket") or {}
    return how.get("port")


def _policies_ports(found: list[Object]) -> list[str]:
    problems = []
    ours = {each["metadata"]["name"] for each in of_kind(found, "Namespace")}
    for each in of_kind(found, "NetworkPolicy"):
        here = each["metadata"]["namespace"]
        meant: list[tuple[Object, list[Object]]] = [
            (rule, _selected(found, here, each["spec"]["podSelector"]))
            for rule in each["spec"].get("ingress") or ()
        ]
        meant += [
            (rule, _selected(found, where, peer["podSelector"]))
            for rule, peer in _peers(each)
            if "to" in rule and "podSelector" in peer and (where := _namespace_of(peer, each)) in ours
        ]
        problems += [
            f"{title(each)} opens port {port['port']}, which no pod there declares"
            for rule, pods in meant
            for port in rule.get("ports", ())
            if not any(port["port"] in ports(pod).values() for pod in pods)
        ]
    return problems


def references(found: list[Object]) -> list[str]:
    """ConfigMaps and ServiceAccounts that pods name are there."""
    problems = []
    for owner, template in templates(found):
        namespace, spec = owner["metadata"]["namespace"], template["spec"]
        wanted = [("ServiceAccount", spec.get("serviceAccountName", "default"))]
        wanted += [
            ("ConfigMap", each["configMap"]["name"]) for each in spec["volumes"] if "configMap" in each
        ]
        wanted += [
            ("ConfigMap", source["configMapRef"]["name"])
            for container in containers(template)
            for source in container.get("envFrom", ())
        ]
        problems += [
            f"{title(owner)}: there is no {kind} {name}"
            for kind, name in wanted
            if not _there(found, kind, name, namespace)
        ]
    return problems


def _there(found: list[Object], kind: str, name: str, namespace: str) -> Any:
    try:
        return named(found, kind, name, namespace)
    except ValueError:  # not exactly one
        return None
