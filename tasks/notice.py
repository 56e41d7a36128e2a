"""Tell people. A notice that cannot be delivered never fails a procedure: it is recorded."""

import time
from contextlib import suppress
from threading import Thread

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, FenceLost
from blocks.notices import Notices
from tasks.ledger import current_run
from tasks.run_page import link_to_run

SECONDS = 5
"""How long all channels together may take."""


# Never retried: a second copy of a message confuses more than a missing one, which is recorded.
@task(name="Send notice", cache_policy=NO_CACHE)
def announce(environment: Environment, title: str, body: str) -> None:
    """Who, what, where, result, link: to every channel of the environment, and to the run's log."""
    run = current_run()
    body = f"{body}\nAsked for by {run.requested_by or 'nobody named'}.\n{link_to_run(run.id)}".strip()
    get_run_logger().info("%s\n%s", title, body)
    channels = environment.notices.channels
    if not channels:
        return
    deliveries = [_Delivery(environment.notices, channel, title, body) for channel in channels]
    for delivery in deliveries:
        delivery.start()
    deadline = time.monotonic() + SECONDS
    for delivery in deliveries:
        delivery.join(max(0.0, deadline - time.monotonic()))
    for delivery in deliveries:
        _record(delivery.channel, delivery.failure)


class _Delivery(Thread):
    """A daemon, so that a channel that never answers does not keep the run's process from ending."""

    def __init__(self, notices: Notices, channel: str, title: str, body: str) -> None:
        super().__init__(name="notice", daemon=True)
        self.channel = channel
        self.failure = f"no answer within {SECONDS} s"
        self._message = (notices, channel, title, body)

    def run(self) -> None:
        self.failure = _send(*self._message)


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
    with suppress(FenceLost):  # a ledger that went away is for the next step to notice
        if failure:
            current_run().record("notice failed", channel=channel, reason=failure)
        else:
            current_run().record("notice sent", channel=channel)
