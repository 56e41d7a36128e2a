"""Runs procedures in this process: a line in is `["deploy", {parameters}]`, a line out is how it ended."""

import json
import sys
from collections.abc import Callable

from prefect.client.schemas.objects import State

from flows.back_up_database import back_up_database
from flows.deploy import deploy, roll_back_deploy
from flows.prune_backups import prune_backups
from flows.restore_and_verify import restore_and_verify
from flows.verify_backup import verify_backup

PROCEDURES: dict[str, Callable[..., State[object]]] = {
    one.name: one
    for one in (deploy, roll_back_deploy, back_up_database, verify_backup, restore_and_verify, prune_backups)
}


def main() -> None:
    for line in sys.stdin:
        name, parameters = json.loads(line)
        state = PROCEDURES[name](**parameters, return_state=True)
        ended = {"run": str(state.state_details.flow_run_id), "ending": state.name, "message": state.message}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
