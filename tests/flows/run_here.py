"""Runs procedures in this process: a line in is `["deploy", {parameters}]`, a line out is how it ended."""

import json
import sys
from importlib import import_module
from typing import Any

import yaml
from prefect import Flow

from deployments.apply import ROOT

PROCEDURES: dict[str, Flow[..., Any]] = {}
for described in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
    module, _, name = described["entrypoint"].rpartition(".")
    procedure = getattr(import_module(module), name)
    PROCEDURES[procedure.name] = procedure


def main() -> None:
    for line in sys.stdin:
        name, parameters = json.loads(line)
        state: Any = PROCEDURES[name](**parameters, return_state=True)
        ended = {"run": str(state.state_details.flow_run_id), "ending": state.name, "message": state.message}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
