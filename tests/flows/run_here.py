"""Runs procedures in this process, with its surroundings: `["deploy", {parameters}]` a line in, an ending a line out."""

import json
import sys

from flows.deploy import deploy, roll_back_deploy

PROCEDURES = {procedure.name: procedure for procedure in (deploy, roll_back_deploy)}


def main() -> None:
    for line in sys.stdin:
        name, parameters = json.loads(line)
        state = PROCEDURES[name](**parameters, return_state=True)
        ended = {"run": str(state.state_details.flow_run_id), "ending": state.name, "message": state.message}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
