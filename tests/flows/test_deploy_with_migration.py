"""A deploy brings its release's migration along, and takes it back with the release."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.blocks.platforms.waiting import eventually
from tests.flows.environments import PRODUCTION, QUICK
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.runner import Runner, running_procedures
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-bringing"
WITH_MIGRATION = "v2.0.0"
BROKEN, WATCHED = "v3.0.0", "v3.1.0"
"""Releases with the same migration, and a defect: one that its verification finds, one that visitors meet."""
AUTHOR = ("-c", "user.name=Shop", "-c", "user.email=shop@example.com")


@pytest.fixture(scope="module")
def shared_runner(
    shared_stack: RunningStack, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    """The environment is applied, there is a proven backup of it, and the bad releases are tagged."""
    folder = tmp_path_factory.mktemp("bringing")
    content = {**yaml.safe_load(PRODUCTION.read_text()), **QUICK, "environment": ENVIRONMENT}
    del content["approvals"]
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump(content))
    shared_stack.run("apply", str(path))
    tag_releases(shared_production, folder)
    shared_production.reset()
    with running_procedures(shared_stack) as runner:
        for procedure in ("back-up-database", "verify-backup"):
            result = runner.run(procedure, ENVIRONMENT)
            assert result["ending"] == "Done", result["message"]
        yield runner
    for tag in (BROKEN, WATCHED):
        shared_production.git("tag", "--delete", tag)


@pytest.fixture
def runner(shared_runner: Runner, production: Production) -> Iterator[Runner]:
    """The schema is the first one's, before and after."""
    yield shared_runner
    production.reset()


def tag_releases(production: Production, folder: Path) -> None:
    clone = folder / "clone"
    run_git("clone", "--quiet", "--branch", WITH_MIGRATION, str(production.repository), str(clone))
    source = clone / "shop" / "release.py"
    good = source.read_text()
    for version, fault in ((BROKEN, "broken"), (WATCHED, "errors")):
        source.write_text(good.replace(f'"{WITH_MIGRATION}"', f'"{version}"').replace("= None", f'= "{fault}"'))
        run_git("-C", str(clone), *AUTHOR, "commit", "--quiet", "--all", f"--message={version}")
        run_git("-C", str(clone), *AUTHOR, "tag", "--annotate", "--message=bad", version)
        run_git("-C", str(clone), "push", "--quiet", "origin", version)


def run_git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True, timeout=60)


def test_the_schema_first_then_the_release_and_both_go_back_by_hand(
    production: Production, runner: Runner, records: Records
) -> None:
    result = runner.run("deploy", ENVIRONMENT, version=WITH_MIGRATION)

    assert result["ending"] == "Done", result["message"]
    assert production.answering_version() == WITH_MIGRATION
    assert production.has_due_dates()
    effects = records.effects(result["run"])
    assert effects.index("apply migrations") < effects.index("start release") < effects.index("shift traffic")
    assert records.report(ENVIRONMENT, result["run"])["pending"] == ["0002"]
    records.assert_settled(ENVIRONMENT)

    # By name: other tests' environments have started releases on the same platform, bad ones too.
    gone_back = runner.run("roll-back-deploy", ENVIRONMENT, to="v1.0.0")
    assert gone_back["ending"] == "Done", gone_back["message"]
    back = runner.run("roll-back-migration", ENVIRONMENT)
    assert back["ending"] == "Done", back["message"]
    assert not production.has_due_dates()


def test_a_release_that_fails_its_verification_leaves_neither(
    production: Production, runner: Runner, records: Records
) -> None:
    before = production.traffic()
    result = runner.run("deploy", ENVIRONMENT, version=BROKEN)
    assert result["ending"] == "Rolled back", result["message"]
    assert "the traffic of shop-bringing, the schema of shop_production" in result["message"]
    assert not production.has_due_dates()
    assert production.traffic() == before
    records.assert_settled(ENVIRONMENT)


@pytest.mark.drill
def test_what_visitors_wrote_with_it_stays_and_a_human_is_asked(
    production: Production, runner: Runner, records: Records
) -> None:
    before, earlier = production.traffic(), records.newest_run(ENVIRONMENT)
    runner.begin("deploy", ENVIRONMENT, version=WATCHED)
    records.wait_until_watching(ENVIRONMENT, earlier)
    with production.connect() as connection:
        connection.execute("INSERT INTO tasks (user_id, title, due_on) SELECT id, 'pay', now() FROM users LIMIT 1")
    result = runner.result()
    assert result["ending"] == "Needs a human", result["message"]
    assert "would lose public.tasks.due_on: 1 rows" in result["message"]
    assert production.has_due_dates()
    assert production.traffic() == before
    eventually(lambda: production.answering_version() == "v1.0.0")
