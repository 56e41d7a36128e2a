"""Runs procedures, each in a child of its own that can be killed: a line in is `["deploy", {parameters}, {variables},
"mutant", port]`, and an empty one lets the child begin. It tells of the programs that it starts at that port, if any.

Lines out: the child's pid, then how its run ended, or null when the child was killed. Prefect is imported once, here.
"""

import json
import os
import sys
from typing import Any

from prefect.context import refresh_global_settings_context

from tests.drills import mutants
from tests.drills.program_starts import tell_of_starts
from tests.flows.run_here import PROCEDURES


def main() -> None:
    for line in sys.stdin:
        name, parameters, variables, mutant, starts = json.loads(line)
        told, telling = os.pipe()
        gate, opening = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            os.close(opening)
            os.read(gate, 1)
            os.environ.update(variables)
            refresh_global_settings_context()  # Prefect's server may have moved to another port since
            if starts:
                tell_of_starts(starts)
            if mutant:
                getattr(mutants, mutant)()
            with os.fdopen(telling, "w") as channel:
                channel.write(_run(name, parameters))
            os._exit(0)
        os.close(telling)
        os.close(gate)
        print(pid, flush=True)
        sys.stdin.readline()
        os.close(opening)
        with os.fdopen(told) as channel:
            ended = channel.read()
        os.waitpid(pid, 0)
        print(ended or "null", flush=True)


def _run(name: str, parameters: dict[str, Any]) -> str:
    try:
        state: Any = PROCEDURES[name](**parameters, return_state=True)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        return json.dumps({"run": "", "ending": "Prefect itself failed", "message": told})
    return json.dumps({"run": str(state.state_details.flow_run_id), "ending": state.name, "message": state.message})


if __name__ == "__main__":
    main()
