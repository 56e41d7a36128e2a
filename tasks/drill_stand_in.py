"""What stands in for the live service in a drill: the same data and release, on a server of its own."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from blocks.throwaway_redis import ThrowawayRedis
from tasks.drill import Drill
from tasks.drill_steps import (
    Application,
    Server,
    booted,
    checked_out,
    provisioned,
    restore_backup,
    verify_data,
    verify_service,
)
from tasks.trial import Prepared


class StandIn(NamedTuple):
    """In place of the live service: the same data, the same release, a machine of its own."""

    server: Server
    release: Prepared
    application: Application

    def stop_application(self) -> None:
        self.application.process.signal(signal.SIGKILL)
        self.application.process.process.wait()


@contextmanager
def stand_in(drill: Drill, cache: ThrowawayRedis | None = None) -> Iterator[StandIn]:
    """Up and verified; what it was like stands in `drill.before`. Raises BackstopError."""
    with ExitStack() as standing:
        server = standing.enter_context(provisioned(drill))
        restore_backup(drill, server)
        before = verify_data(drill, server)
        release = standing.enter_context(checked_out(drill, server, cache))
        application = standing.enter_context(booted(drill, release, server))
        passed = verify_service(drill, application)
        drill.before = before.model_copy(update={"of": "the stand-in before", "passed": passed})
        yield StandIn(server, release, application)
