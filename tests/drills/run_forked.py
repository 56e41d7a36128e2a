"""Runs procedures, each in a child of its own that can be killed: a line in is `["deploy", {parameters}, {variables}]`.

Lines out: the child's pid, then how its run ended, or null when the child was killed. Prefect is imported once, here.
"""

import json
import os
import sys
from typing import Any

from tests.flows.run_here import PROCEDURES


def main() -> None:
    for line in sys.stdin:
        name, parameters, variables = json.loads(line)
        told, telling = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            os.environ.update(variables)
            with os.fdopen(telling, "w") as channel:
                channel.write(_run(name, parameters))
            os._exit(0)
        os.close(telling)
        print(pid, flush=True)
        with os.fdopen(told) as channel:
            ended = channel.read()
        os.waitpid(pid, 0)
        print(ended or "null", flush=True)


def _run(name: str, parameters: dict[str, Any]) -> str:
    state = PROCEDURES[name](**parameters, return_state=True)
    return json.dumps({"run": str(state.state_details.flow_run_id), "ending": state.name, "message": state.message})


if __name__ == "__main__":
    main()
