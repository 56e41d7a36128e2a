"""The database server is lost, and its data with it: a stand-in for the live service is brought up, its server killed.

(stand-in) → kill the database → detect → provision → restore → verify data → switch → verify service → clean up
"""

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.postgres.sudden_death import kill_throwaway_server
from tasks.drill import Drill
from tasks.drill_stand_in import stand_in
from tasks.drill_steps import (
    Stand,
    booted,
    provisioned,
    restore_backup,
    verify_data,
    verify_service,
    wait_until_noticed,
)


# Never repeated by itself: its time is what is measured.
@task(name="Drill: database loss", cache_policy=NO_CACHE)
def hold_database_loss(drill: Drill) -> None:
    """Raises BackstopError where recovery fails."""
    with Stand(drill) as stand:
        with drill.phase("stand-in"):
            lost = stand.standing.enter_context(stand_in(drill))

        kill_throwaway_server(lost.server.target.url)
        drill.strike()
        with drill.phase("detect"):
            wait_until_noticed(drill, lost.application.address)
        with drill.phase("provision"):
            server = stand.standing.enter_context(provisioned(drill))
        with drill.phase("restore"):
            restore_backup(drill, server)
        with drill.phase("verify data"):
            after = verify_data(drill, server)
        with drill.phase("switch"):
            lost.stop_application()
            application = stand.standing.enter_context(booted(drill, lost.release, server))
        with drill.phase("verify service"):
            drill.after = after.model_copy(update={"passed": verify_service(drill, application)})
        drill.recover()
