"""Tell people. A notice that cannot be delivered never fails a procedure: it is recorded."""

from concurrent.futures import ThreadPoolExecutor, wait

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_UI_URL

from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.notices import Notices
from tasks.ledger import current_run

SECONDS = 5
"""How long all channels together may take."""


# Never retried: a second copy of a message confuses more than a missing one, which is recorded.
@task(name="Send notice", cache_policy=NO_CACHE)
def announce(environment: Environment, title: str, body: str) -> None:
    """Who, what, where, result, link: to every channel of the environment, and to the run's log."""
    run = current_run()
    body = f"{body}\nAsked for by {run.requested_by or 'nobody named'}.\n{_link(run.id)}".strip()
    get_run_logger().info("%s\n%s", title, body)
    channels = environment.notices.channels
    if not channels:
        return
    pool = ThreadPoolExecutor(max_workers=len(channels))
    sent = {pool.submit(_send, environment.notices, channel, title, body): channel for channel in channels}
    ended, late = wait(sent, timeout=SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    for future in ended:
        _record(sent[future], future.result())
    for future in late:
        _record(sent[future], f"no answer within {SECONDS} s")


def _link(run_id: str) -> str:
    """The run's page: of the run itself, also where one of its undos tells."""
    return f"{PREFECT_UI_URL.value()}/runs/flow-run/{run_id}"


def _send(notices: Notices, channel: str, title: str, body: str) -> str:
    try:
        notices.send(channel, title, body)
    except BackstopError as error:
        return error.message
    except Exception as error:  # whatever a channel's library raises; its text may hold the address
        return type(error).__name__
    return ""


def _record(channel: str, failure: str) -> None:
    if failure:
        get_run_logger().warning("A notice to %s failed: %s", channel, failure)
        current_run().record("notice failed", channel=channel, reason=failure)
    else:
        current_run().record("notice sent", channel=channel)
