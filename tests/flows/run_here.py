"""Runs procedures in this process: a line in is `["deploy", {parameters}]`, a line out is how it ended."""

import json
import sys
from collections.abc import Callable

from prefect.client.schemas.objects import State

from flows.deploy import deploy, roll_back_deploy

PROCEDURES: dict[str, Callable[..., State[object]]] = {one.name: one for one in (deploy, roll_back_deploy)}


def main() -> None:
    for line in sys.stdin:
        name, parameters = json.loads(line)
        state = PROCEDURES[name](**parameters, return_state=True)
        ended = {"run": str(state.state_details.flow_run_id), "ending": state.name, "message": state.message}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
