"""The same deploy as a script would do it: start, wait, check, switch, check again, stop the old one.

    python -m tests.benchmarks.plain_deploy ENVIRONMENT.yaml VERSION

No plan, no lock, no undo, no watching. It asks the service what `deploy` asks it.
"""

import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

SECONDS = 10


def deploy(described: dict[str, Any], version: str) -> None:
    platform, service = described["platform"], described["service"]
    commit = read_commit(described["source"]["folder"], version)
    token = {"Authorization": f"Bearer {platform['token']}"}
    with httpx.Client(base_url=platform["url"], headers=token, timeout=SECONDS, trust_env=False) as control:
        before = asked(control.get("/traffic"))["split"]
        release = asked(control.post("/releases", json={"version": version, "commit": commit, "run_id": ""}))
        while release["state"] == "starting":
            time.sleep(0.1)
            release = asked(control.get(f"/releases/{release['id']}"))
        verify(service, release["url"], version)
        asked(control.put("/traffic", json={"split": {release["id"]: 100}}))
        verify(service, service["url"], version)
        for old in before:
            asked(control.post(f"/releases/{old}/stop", json={"wait": 4}))


def verify(service: dict[str, Any], url: str, version: str) -> None:
    kept: dict[str, str] = {}
    with httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as client:
        asked(client.get(service["health"]))
        for path in service["critical"]:
            if client.get(path).is_server_error:
                sys.exit(f"{path} is broken")
        if asked(client.get(service["version"]))["version"] != version:
            sys.exit(f"This is not {version}.")
        for step in service["smoke"]:
            try_step(client, step, kept)


def try_step(client: httpx.Client, step: dict[str, Any], kept: dict[str, str]) -> None:
    method, path = step["request"].split(" ", 1)
    body = json.dumps(step["json"]) if "json" in step else step.get("body", "")
    headers = {name: filled(value, kept) for name, value in step.get("headers", {}).items()}
    if "json" in step:
        headers["Content-Type"] = "application/json"
    if sign := step.get("sign"):
        now = int(time.time())
        digest = hmac.new(sign["secret"].encode(), f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
        headers[sign["header"]] = f"t={now},v1={digest}"
    answer = client.request(method, filled(path, kept), content=body, headers=headers)
    if answer.status_code != step.get("expect", 200):
        sys.exit(f"{step['name']} answers {answer.status_code}")
    kept.update({name: str(answer.json()[member]) for name, member in step.get("keep", {}).items()})


def filled(text: str, kept: dict[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda match: kept[match[1]], text)


def asked(answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status()
    return dict(answer.json()) if answer.content else {}


def read_commit(repository: str, version: str) -> str:
    command = ["git", "-C", repository, "rev-parse", f"{version}^{{commit}}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout.strip()


if __name__ == "__main__":
    deploy(yaml.safe_load(os.path.expandvars(Path(sys.argv[1]).read_text())), sys.argv[2])
