"""An issue at the repository's host, so that the cause of a rollback is looked for. It never fails a procedure."""

from contextlib import suppress

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, FenceLost
from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.run_page import link_to_run


# Never retried: whether one that was not answered was opened nobody knows, and a second one confuses.
@task(name="Open issue", cache_policy=NO_CACHE)
def open_issue(environment: Environment, title: str, cause: str) -> None:
    """Where the environment wants one."""
    if not environment.source.issues:
        return
    run = current_run()
    body = f"{plain(cause)}\n\nRun {run.id} of {run.procedure} in {run.environment}: {link_to_run(run.id)}"
    try:
        event, detail = "issue opened", {"url": environment.source.open_issue(title, body)}
    except BackstopError as error:
        get_run_logger().warning("No issue was opened: %s", error)
        event, detail = "issue not opened", {"reason": error.message}
    with suppress(FenceLost):
        run.record(event, **detail)
