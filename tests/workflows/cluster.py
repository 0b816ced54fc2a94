"""A stand-in for `kubectl` before a cluster that $CLUSTER tells of: what `smoke` asks, by real labels and phases."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def chosen(pods: list[dict[str, Any]], words: list[str], slept: int) -> list[str]:
    """Return the pods that a `get pods` shows, as `-o name` does."""
    labels = dict(pair.split("=") for pair in words[words.index("-l") + 1].split(","))
    running = "--field-selector=status.phase=Running" in words
    return [
        f"pod/{pod['name']}"
        for pod in pods
        if labels.items() <= pod["labels"].items()
        and pod.get("after", 0) <= slept
        and not (running and pod["phase"] != "Running")
    ]


def main(words: list[str]) -> int:
    """Answer as kubectl would."""
    told = json.loads(Path(os.environ["CLUSTER"]).read_text())
    slept = Path(os.environ["RECORD"]).read_text().count("sleep ")
    match words[2:]:
        case ["get", "deployments", *_]:
            print(*(f"deployment.apps/{name}" for name in told["services"]), sep="\n")
        case ["rollout", "status", service, *_]:
            return int(not told["services"][service.partition("/")[2]])
        case ["get", "pods", *_] if "-l" in words:
            print(*chosen(told["pods"], words, slept), sep="\n")
        case ["exec", "-i", "pod/scheduler-new", "--", "python", "-"]:
            return subprocess.run(
                [sys.executable, "-"], env=os.environ | told["settings"], check=False
            ).returncode
        case ["logs", pod]:
            print(*(each["log"] for each in told["pods"] if f"pod/{each['name']}" == pod))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
