"""Where pushing a tag deploys: the flow pushes it, follows what that sets off, and puts it back."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import continuous_deployment
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@pytest.fixture
def remote(environments: Path, production: Production) -> Iterator[Path]:
    """The remote of shop-tagged's clone, where pushing a tag deploys it. Neither has a tag yet."""
    clone, remote = environments / "clone", environments / "remote.git"
    git(environments, "clone", "--quiet", "--bare", "--no-tags", str(production.repository), str(remote))
    git(environments, "clone", "--quiet", "--no-tags", str(remote), str(clone))
    for tag in git(remote, "tag", "--list").splitlines():
        git(remote, "tag", "--delete", tag)
    continuous_deployment.install(remote, production.platform)
    yield remote
    shutil.rmtree(clone)
    shutil.rmtree(remote)


def test_a_good_one_is_followed_until_it_answers(
    stack: RunningStack, production: Production, records: Records, remote: Path
) -> None:
    commit = production.commit("v1.1.0")

    result = stack.run_procedure("deploy", "shop-tagged", version="v1.1.0", commit=commit)

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    assert git(remote, "rev-parse", "v1.1.0^{commit}") == commit
    assert production.traffic() == {production.newest("v1.1.0").id: 100}
    assert records.effects(result["run"])[0] == "create tag"
    assert not {"start release", "shift traffic"} & set(records.effects(result["run"])), "that is CI's"
    records.assert_settled("shop-tagged")


def test_a_bad_one_is_rolled_back_and_its_tag_withdrawn(
    stack: RunningStack, production: Production, records: Records, remote: Path
) -> None:
    before = production.traffic()

    result = stack.run_procedure(
        "deploy", "shop-tagged", version="v1.3.0", commit=production.commit("v1.3.0"), hotfix=True
    )

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert "failed" in result["message"]
    assert production.traffic() == before
    assert production.newest("v1.3.0").state == "stopped"
    assert git(remote, "tag", "--list") == ""
    assert git(remote.parent / "clone", "tag", "--list") == ""
    records.assert_settled("shop-tagged")
