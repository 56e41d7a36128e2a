"""The application dies: a stand-in for the live one is brought up, and its process killed.

(stand-in) → kill the application → detect → put back → verify service → clean up
"""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.drill import Drill, DrillFailed
from tasks.drill_stand_in import stand_in
from tasks.drill_steps import Stand, booted, fewer_rows, steady_state, verify_service, wait_until_noticed
from tasks.verification import read_content


# Never repeated by itself: its time is what is measured.
@task(name="Drill: service outage", cache_policy=NO_CACHE)
def hold_service_outage(drill: Drill) -> None:
    """Raises BackstopError where the service does not come back, or has lost rows."""
    with Stand(drill) as stand:
        with drill.phase("stand-in"):
            down = stand.standing.enter_context(stand_in(drill))
            before = read_content(down.server.target).tables

        down.stop_application()
        drill.strike()
        with drill.phase("detect"):
            wait_until_noticed(drill, down.application.address)
        with drill.phase("put back"):
            application = stand.standing.enter_context(booted(drill, down.release, down.server))
        with drill.phase("verify service"):
            passed = verify_service(drill, application)
        drill.recover()
        with drill.phase("verify data"):
            after = read_content(down.server.target).tables
        if lost := fewer_rows(before, after):
            raise DrillFailed(f"Rows are gone after the outage: {', '.join(sorted(lost))}.")
        drill.after = steady_state("the same data after", after, passed)
        drill.newest_write, drill.rpo_how = drill.disaster_at, "no table has fewer rows than before the outage"
