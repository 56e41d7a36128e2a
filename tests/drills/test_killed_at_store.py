"""Backups in a bucket, made and pruned, and killed before and after each request that changes something there."""

from collections.abc import Iterator

import pytest

from tests.blocks.stores.faults import FaultProxy, running_proxy
from tests.blocks.stores.servers import S3Server, running_swift
from tests.drills.keeping import Bucket, prune_backups
from tests.drills.killing import Drill
from tests.drills.moments import every_moment
from tests.drills.outcome import Practice
from tests.drills.tally import Tally
from tests.flows.bucket import ENVIRONMENT, write_environment
from tests.flows.runner import running_procedures
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(swift: S3Server) -> Iterator[FaultProxy]:
    with running_proxy(swift.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def bucket(shared_stack: RunningStack, swift: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    shared_stack.run("up")
    name = swift.make_bucket()
    shared_stack.run("apply", str(write_environment(tmp_path_factory.mktemp("bucket"), name)))
    return Bucket(swift.client(), name, ENVIRONMENT)


@pytest.fixture
def variables(swift: S3Server, proxy: FaultProxy) -> dict[str, str]:
    """For whoever is to reach the store through the proxy."""
    return {"S3_ENDPOINT": proxy.endpoint, **swift.secrets()}


def test_a_backup_is_whole_or_is_none(
    drill: Drill, bucket: Bucket, proxy: FaultProxy, variables: dict[str, str], tally: Tally
) -> None:
    before: list[set[str]] = []

    def prepare() -> object:
        before[:] = [look()]
        return before[0]

    def look() -> set[str]:
        return {name for name in bucket.names() if name.endswith("manifest.json")}

    name = "back-up-database, to a bucket"
    practice = Practice(name, "back-up-database", ENVIRONMENT, {}, prepare, look, lambda: len(look() - before[0]) == 1)
    kill_at_every_request(drill, practice._replace(variables=variables, proxies={"store": proxy}), tally)


def test_what_stays_when_others_are_pruned_is_whole(
    stack: RunningStack, drill: Drill, bucket: Bucket, proxy: FaultProxy, variables: dict[str, str], tally: Tally
) -> None:
    bucket.write({})
    with running_procedures(stack, **variables) as runner:
        for procedure in ("back-up-database", "verify-backup", "back-up-database", "back-up-database"):
            assert runner.run(procedure, ENVIRONMENT)["ending"] == "Done"
    practice = prune_backups(ENVIRONMENT, bucket, bucket.read())
    practice = practice._replace(name="prune-backups, in a bucket", variables=variables, proxies={"store": proxy})
    kill_at_every_request(drill, practice, tally)


def kill_at_every_request(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in every_moment(drill.read_crossed(practice), "store"):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))
