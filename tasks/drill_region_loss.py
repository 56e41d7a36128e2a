"""The region is lost with all that stands in it: server, cache and application of a stand-in are killed at once.

(stand-in) → kill all of it → detect → provision → restore → verify data → boot → switch → verify service → clean up
"""

import signal

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused
from blocks.front_door import front_door
from blocks.postgres.sudden_death import kill_throwaway_server
from tasks.catalogue import Catalogue, read_catalogue
from tasks.drill import Drill
from tasks.drill_report import in_words
from tasks.drill_stand_in import stand_in
from tasks.drill_steps import (
    Stand,
    booted,
    cache_of_its_own,
    checked_out,
    provisioned,
    restore_backup,
    verify_data,
    verify_service,
    wait_until_noticed,
)


def without_its_region(environment: Environment) -> Environment:
    """What is left of it: the backups in the other region. Raises Refused where nobody says that there are any."""
    if environment.region_copy is None:
        raise Refused(
            f"{environment.environment} has no part `region_copy`: its backups are lost with their region.",
            "Have the store copied to another region, and name the copy there.",
        )
    return environment.model_copy(update={"store": environment.region_copy})


def tell_of_copy(environment: Environment, copied: Catalogue) -> str:
    """Whether the copy has what the store has."""
    if environment.region_copy == environment.store:
        return "the store itself, which by its environment's file lies in another region"
    try:
        newest = read_catalogue(environment).newest
    except BackstopError:  # nothing of the drill depends on it
        return "the copy in the other region; the store could not be read to compare"
    if newest is None or newest.id in {backup.id for backup in copied.backups}:
        return "the copy in the other region, which has the store's newest backup"
    if copied.newest is None or copied.newest.dated >= newest.dated:
        return f"the copy in the other region, which lacks {newest.id}"
    behind = in_words((newest.dated - copied.newest.dated).total_seconds())
    return f"the copy in the other region, which is {behind} behind: the store has {newest.id}"


# Never repeated by itself: its time is what is measured.
@task(name="Drill: region loss", cache_policy=NO_CACHE)
def hold_region_loss(drill: Drill) -> None:
    """Raises BackstopError where recovery fails."""
    with Stand(drill) as stand:
        with drill.phase("stand-in"):
            door = stand.standing.enter_context(front_door())
            gone = stand.standing.enter_context(cache_of_its_own(drill))
            lost = stand.standing.enter_context(stand_in(drill, gone))
            door.lead_to(lost.application.address)

        lost.stop_application()
        kill_throwaway_server(lost.server.target.url)
        if gone:
            gone.process.signal(signal.SIGKILL)
        drill.strike()
        with drill.phase("detect"):
            wait_until_noticed(drill, door.url)
        with drill.phase("provision"):
            server = stand.standing.enter_context(provisioned(drill))
            cache = stand.standing.enter_context(cache_of_its_own(drill))
        with drill.phase("restore"):
            restore_backup(drill, server)
        with drill.phase("verify data"):
            after = verify_data(drill, server)
        with drill.phase("boot"):
            release = stand.standing.enter_context(checked_out(drill, server, cache))
            application = stand.standing.enter_context(booted(drill, release, server))
        with drill.phase("switch"):
            door.lead_to(application.address)
        with drill.phase("verify service"):
            passed = verify_service(drill, application._replace(address=door.url))
            drill.after = after.model_copy(update={"passed": passed})
        drill.recover()
