"""The quarterly recovery test: could everything be brought back now, by nothing but the newest backup?

provision → restore → verify data → boot → verify service → clean up
"""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.drill import Drill
from tasks.drill_steps import (
    Stand,
    backup_of,
    booted,
    checked_out,
    provisioned,
    restore_backup,
    steady_state,
    verify_data,
    verify_service,
)


# Never repeated by itself: its time is what is measured.
@task(name="Drill: recovery test", cache_policy=NO_CACHE)
def hold_recovery_test(drill: Drill) -> None:
    """The disaster is pretended to be now. Raises BackstopError where recovery fails."""
    drill.before = steady_state("what was backed up", backup_of(drill).manifest.tables)
    drill.strike()
    with Stand(drill) as stand:
        with drill.phase("provision"):
            server = stand.standing.enter_context(provisioned(drill))
        with drill.phase("restore"):
            restore_backup(drill, server)
        with drill.phase("verify data"):
            after = verify_data(drill, server)
        with drill.phase("boot"):
            release = stand.standing.enter_context(checked_out(drill, server))
            application = stand.standing.enter_context(booted(drill, release, server))
        with drill.phase("verify service"):
            drill.after = after.model_copy(update={"passed": verify_service(drill, application)})
        drill.recover()
