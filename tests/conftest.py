from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.ledger.connection import migrate
from blocks.postgres.programs import find_programs_for
from deployments.stack.state import write_private
from tests.deployments.shop.processes import Postgres, running_postgres
from tests.flows.environments import write_environments
from tests.flows.mounted import Mounted, mounted_beside
from tests.flows.people import People
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.rotated import Rotated
from tests.flows.shop_database import ShopDatabase
from tests.ledger_database import LedgerDatabase, create_ledger_role, empty_database
from tests.running_stack import RunningStack

DRILLS = Path(__file__).with_name("drills")
SECRETS = Path(__file__).with_name("test_secrets.py")


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Files that need a stack come last: one that is up takes a tenth of the machine, used or not.

    Of those, the ones that take long come first, so that at the end no worker is alone with one of them. Before them
    the search for secrets: a drill hands a run another URL of the ledger through Prefect, which keeps it.
    """
    with_stack = {item.path for item in items if "shared_stack" in item.fixturenames}
    tests = Counter(item.path for item in items)
    items.sort(
        key=lambda item: (
            item.path in with_stack,
            item.path != SECRETS,
            DRILLS not in item.path.parents,
            -tests[item.path],
        )
    )


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Brought up once; whatever a test breaks, it mends."""
    stack = RunningStack(tmp_path_factory.mktemp("stack") / "state")
    with stack.taken_down_afterwards():
        stack.run("up")
        yield stack


@pytest.fixture
def stack(shared_stack: RunningStack) -> RunningStack:
    shared_stack.mend()
    return shared_stack


@pytest.fixture(scope="session")
def environments(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environments of the tests are applied; their folder, for what they refer to."""
    folder = tmp_path_factory.mktemp("environments")
    shared_stack.mend()
    credentials = shared_stack.layout.credentials.production
    for name in ("token", "changing-token"):
        write_private(folder / name, credentials.sandbox_token)
    write_private(folder / "wrong-secret", "not-the-provider's")
    shared_stack.run("apply", *map(str, write_environments(folder)))
    return folder


@pytest.fixture(scope="session")
def shared_production(shared_stack: RunningStack, environments: Path) -> Production:
    return Production(shared_stack, environments / "token")


@pytest.fixture
def production(stack: RunningStack, shared_production: Production) -> Production:
    """With all traffic on the good release, nothing else running."""
    shared_production.reset()
    return shared_production


@pytest.fixture
def rotated(production: Production, environments: Path) -> Rotated:
    """Production, whose login is in a file beside it, too."""
    rotated = Rotated(production, environments / "shop.env")
    rotated.reset()
    return rotated


@pytest.fixture
def mounted(production: Production, environments: Path) -> Iterator[Mounted]:
    """Production, with secrets of every kind but that of the database."""
    with mounted_beside(production, environments) as mounted:
        yield mounted


@pytest.fixture
def records(stack: RunningStack) -> Records:
    return Records(stack)


@pytest.fixture
def people(stack: RunningStack) -> People:
    return People(stack)


@pytest.fixture
def shop(stack: RunningStack) -> Iterator[ShopDatabase]:
    """Staging's database; what restores left beside it is dropped afterwards."""
    shop = ShopDatabase(stack)
    yield shop
    shop.drop_others()


@pytest.fixture(scope="session")
def ledger_server() -> Iterator[Postgres]:
    with running_postgres() as server:
        create_ledger_role(server)
        yield server


@pytest.fixture(scope="session", params=[16, 18], ids=lambda major: f"PostgreSQL {major}")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with running_postgres(find_programs_for(request.param, request.param).folder) as server:
        yield server


@pytest.fixture(scope="session")
def shared_ledger(ledger_server: Postgres) -> Iterator[LedgerDatabase]:
    with empty_database(ledger_server) as database:
        with database.connect("schema") as connection:
            migrate(connection)
        yield database


@pytest.fixture
def ledger(shared_ledger: LedgerDatabase) -> LedgerDatabase:
    """Empty at the start of each test."""
    shared_ledger.empty()
    return shared_ledger
