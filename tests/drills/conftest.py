import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.blocks.stores.faults import FaultProxy, running_proxy
from tests.drills import keeping, rotating, undoing
from tests.drills import practices as practice
from tests.drills.beneath import Beneath
from tests.drills.choosing import SCHEDULE_SEED, SEED
from tests.drills.forked import Forked, forked_procedures
from tests.drills.killing import Drill
from tests.drills.moments import Place
from tests.drills.outcome import Practice
from tests.drills.platform_log import PlatformLog
from tests.drills.tally import Tally
from tests.flows.in_actions import InActions, secret_in_actions
from tests.flows.in_secret_manager import InSecretManager, secret_in_secret_manager
from tests.flows.mounted import Mounted
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.rotated import Rotated
from tests.flows.shop_database import ENVIRONMENT as STAGING
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack

Practices = dict[str, Callable[[], Practice]]
_TALLY = pytest.StashKey[Tally]()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return request.config.stash[_TALLY]


@pytest.fixture(scope="module")
def forked(shared_stack: RunningStack) -> Iterator[Forked]:
    shared_stack.run("up")
    with forked_procedures(shared_stack.surroundings) as forked:
        yield forked


@pytest.fixture(scope="module")
def log(shared_stack: RunningStack) -> Iterator[PlatformLog]:
    """Of production's platform."""
    with running_proxy(shared_stack.layout.control_url("production")) as proxy:
        yield PlatformLog(proxy, shared_stack.surroundings["BACKSTOP_LEDGER_URL"], practice.PRODUCTION)


@pytest.fixture(scope="module")
def rotation_log(shared_stack: RunningStack) -> Iterator[PlatformLog]:
    """The same, while its secrets are rotated."""
    with running_proxy(shared_stack.layout.control_url("production")) as proxy:
        yield PlatformLog(proxy, shared_stack.surroundings["BACKSTOP_LEDGER_URL"], rotating.ENVIRONMENT)


@pytest.fixture(scope="module")
def every_kind_log(shared_stack: RunningStack) -> Iterator[PlatformLog]:
    with running_proxy(shared_stack.layout.control_url("production")) as proxy:
        yield PlatformLog(proxy, shared_stack.surroundings["BACKSTOP_LEDGER_URL"], rotating.EVERY_KIND)


@pytest.fixture(scope="module")
def in_actions(
    shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[InActions, PlatformLog]]:
    """With the log of production's platform meanwhile."""
    stack = shared_production.stack
    shared_production.reset()
    with (
        secret_in_actions(shared_production, tmp_path_factory.mktemp("in-actions")) as in_actions,
        running_proxy(stack.layout.control_url("production")) as proxy,
    ):
        yield in_actions, PlatformLog(proxy, stack.surroundings["BACKSTOP_LEDGER_URL"], rotating.IN_ACTIONS)


@pytest.fixture(scope="module")
def in_secret_manager(
    shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[InSecretManager, PlatformLog]]:
    """With the log of production's platform meanwhile."""
    stack = shared_production.stack
    shared_production.reset()
    with (
        secret_in_secret_manager(shared_production, tmp_path_factory.mktemp("in-secret-manager")) as in_secret_manager,
        running_proxy(stack.layout.control_url("production")) as proxy,
    ):
        log = PlatformLog(proxy, stack.surroundings["BACKSTOP_LEDGER_URL"], rotating.IN_SECRET_MANAGER)
        yield in_secret_manager, log


@pytest.fixture
def afterwards() -> Iterator[ExitStack]:
    """What a practice leaves to be ended when its test is over."""
    with ExitStack() as left:
        yield left


@pytest.fixture(scope="module")
def staging_platform(shared_stack: RunningStack) -> Iterator[FaultProxy]:
    with running_proxy(shared_stack.layout.control_url("staging")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def backup(shared_stack: RunningStack) -> str:
    """Of staging, proven."""
    shared_stack.run("up")
    return ShopDatabase(shared_stack).back_up()


@pytest.fixture(scope="module")
def kept(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the environment that backups are imported into, and drilled out of."""
    shared_stack.run("up")
    folder = tmp_path_factory.mktemp("kept")
    keeping.prepare_environment(shared_stack, folder)
    return folder


@pytest.fixture(scope="session")
def crossed() -> dict[str, dict[Place, list[str]]]:
    """The boundaries of each practice that was run to its end."""
    return {}


@pytest.fixture
def drilled(stack: RunningStack, forked: Forked, records: Records, crossed: dict[str, dict[Place, list[str]]]) -> Drill:
    """With the supervisor at work."""
    return Drill(stack, forked, records, crossed)


@pytest.fixture
def drill(stack: RunningStack, drilled: Drill) -> Iterator[Drill]:
    with stack.suspended("supervisor"):
        yield drilled


@pytest.fixture
def beneath(stack: RunningStack, forked: Forked, records: Records) -> Beneath:
    return Beneath(stack, forked, records)


@pytest.fixture
def practices(
    request: pytest.FixtureRequest,
    stack: RunningStack,
    production: Production,
    shop: ShopDatabase,
    log: PlatformLog,
    staging_platform: FaultProxy,
) -> Practices:
    """By their names."""

    def rotated() -> tuple[Rotated, PlatformLog]:
        return request.getfixturevalue("rotated"), request.getfixturevalue("rotation_log")

    def mounted() -> tuple[Mounted, PlatformLog]:
        return request.getfixturevalue("mounted"), request.getfixturevalue("every_kind_log")

    def afterwards() -> ExitStack:
        left: ExitStack = request.getfixturevalue("afterwards")
        return left

    def backup() -> str:
        return str(request.getfixturevalue("backup"))

    def kept() -> Path:
        folder: Path = request.getfixturevalue("kept")
        return folder

    return {
        "deploy": lambda: practice.deploy(production, log),
        "deploy of a broken release": lambda: practice.deploy_of_a_broken_release(production, log),
        "roll-back-deploy": lambda: practice.roll_back_deploy(production, log),
        "back-up-database": lambda: practice.back_up_database(shop),
        "verify-backup": lambda: practice.verify_backup(shop, backup()),
        "restore-and-verify": lambda: practice.through(staging_platform, practice.restore_and_verify(shop, backup())),
        "rotate-secrets": lambda: rotating.rotate_secrets(*rotated()),
        "rotate-secrets after a breach": lambda: rotating.rotate_secrets_after_a_breach(*rotated()),
        "rotate-secrets that fails": lambda: rotating.rotate_secrets_that_fails(*rotated(), afterwards()),
        "roll-back-rotation": lambda: rotating.roll_back_rotation(*rotated(), Records(stack), afterwards()),
        "rotate-secrets of every kind": lambda: rotating.rotate_every_kind(*mounted()),
        "rotate-secrets in Actions": lambda: rotating.rotate_in_actions(*request.getfixturevalue("in_actions")),
        "rotate-secrets in Secret Manager": lambda: rotating.rotate_in_secret_manager(
            *request.getfixturevalue("in_secret_manager")
        ),
        "rotate-secrets, previous retired": lambda: rotating.retire_previous(*mounted()),
        "restore-table": lambda: practice.restore_table(shop, backup()),
        "undo-restore": lambda: practice.through(staging_platform, undoing.undo_restore(shop, backup())),
        "undo-restore that would lose writes": lambda: undoing.undo_restore_that_would_lose_writes(shop, backup()),
        "undo-restore-table": lambda: undoing.undo_restore_table(shop, backup()),
        "prune-backups": lambda: keeping.prune_backups(STAGING, *keeping.back_ups_to_prune(stack, backup())),
        "import-dump": lambda: keeping.import_dump(kept()),
        "dr-drill, recovery-test": lambda: keeping.dr_drill(shop, kept(), "recovery-test"),
        "dr-drill, database-loss": lambda: keeping.dr_drill(shop, kept(), "database-loss"),
        "dr-drill, service-outage": lambda: keeping.dr_drill(shop, kept(), "service-outage"),
        "dr-drill, region-loss": lambda: keeping.dr_drill(shop, kept(), "region-loss"),
    }


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """The seeds are told before anything is tried."""
    named = os.environ.get("BACKSTOP_DRILL_TABLE")
    session.config.stash[_TALLY] = Tally(Path(named) if named else None)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and any(Path(__file__).parent in item.path.parents for item in session.items):
        reporter.write_line(f"drills: BACKSTOP_DRILL_SEED={SEED}; the random schedule: {SCHEDULE_SEED}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash.get(_TALLY, None)
    if tally and not tally.is_empty:
        terminalreporter.section("kills")
        terminalreporter.write(tally.as_markdown())
