"""Start the release that has the traffic anew, with the platform's variables as they are now."""

from blocks.environment import Environment
from tasks.deploy_plan import read_traffic_before
from tasks.health import verify_release
from tasks.release import start_release, wait_for_release
from tasks.rollback import return_traffic, stop_releases_of
from tasks.traffic import TrafficBefore, is_explained, read_main_release, shift_traffic


def restart_release(environment: Environment, before: TrafficBefore) -> None:
    """Another release of the same version gets all traffic; without a release that has some there is none to start."""
    platform = environment.platform
    main = read_main_release(platform)
    if main is None:
        return
    started = start_release(platform, main.version, main.commit)
    release = wait_for_release(platform, started.id, environment.rollout.start_seconds)
    verify_release(environment.service, release)
    shift_traffic(platform, {release.id: 100}, before)


def finish_restart(environment: Environment, before: TrafficBefore) -> None:
    """What a run that died had begun: unless a release that it started has the traffic, another one gets it."""
    if environment.platform.read_traffic() == before.split:
        restart_release(environment, before)
    stop_releases_of(environment.platform, before)


def return_to_releases(environment: Environment, before: TrafficBefore) -> None:
    """All traffic back to the releases of before; where they run no more, or somebody deployed since, start anew."""
    platform = environment.platform
    running = {release.id for release in platform.read_releases() if release.state == "running"}
    if is_explained(platform, platform.read_traffic(), before) and set(before.split) <= running:
        return_traffic(environment, before)
    else:
        main = read_main_release(platform)
        restart_release(environment, read_traffic_before(platform, main.version if main else ""))
    stop_releases_of(platform, before)


def leave_releases(environment: Environment, before: TrafficBefore) -> None:
    """All traffic back to the releases of before, and what the run started is stopped; nothing is asked of them."""
    return_traffic(environment, before)
    stop_releases_of(environment.platform, before)
