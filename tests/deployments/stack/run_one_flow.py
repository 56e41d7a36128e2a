"""run_one_flow.py FILE: have the stack's worker run the flow below, which writes what it sees to FILE."""

import asyncio
import os
import sys
from pathlib import Path

from prefect import flow
from prefect.deployments import arun_deployment
from prefect.runner.storage import LocalStorage
from prefect.settings import get_current_settings


@flow
def look_around(file: str) -> None:
    heartbeat = get_current_settings().flows.heartbeat_frequency
    Path(file).write_text(f"{heartbeat} {os.environ['SHOP_PRODUCTION_URL']}")


async def main() -> None:
    here = Path(__file__)
    found = await look_around.afrom_source(LocalStorage(str(here.parent)), f"{here.name}:look_around")
    deployment = await found.adeploy("look-around", work_pool_name="backstop", print_next_steps=False)
    run = await arun_deployment(deployment, parameters={"file": sys.argv[1]}, timeout=50, poll_interval=0.2)
    sys.exit(0 if run.state is not None and run.state.is_completed() else f"ended as {run.state}")


if __name__ == "__main__":
    asyncio.run(main())
