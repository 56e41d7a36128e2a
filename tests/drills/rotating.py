"""Rotations of secrets as practices: at the end every sink and consumer has one value that works, and no other does."""

import secrets
from contextlib import ExitStack

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from blocks.postgres.roles import set_password
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import FaultProxy
from tests.drills.moments import Place
from tests.drills.outcome import Practice
from tests.drills.platform_log import PlatformLog
from tests.drills.practices import PLATFORM
from tests.flows.in_actions import ENVIRONMENT as IN_ACTIONS
from tests.flows.in_actions import InActions
from tests.flows.in_secret_manager import ENVIRONMENT as IN_SECRET_MANAGER
from tests.flows.in_secret_manager import InSecretManager
from tests.flows.mounted import CACHE, JOB, SESSION, UPLOADED, WEBHOOK, Mounted
from tests.flows.mounted import ENVIRONMENT as EVERY_KIND
from tests.flows.production import GOOD
from tests.flows.records import Records
from tests.flows.rotated import ENVIRONMENT, NIGHT_SHIFT, VARIABLE, Rotated


def rotate_secrets(rotated: Rotated, log: PlatformLog) -> Practice:
    production = rotated.production
    before: list[str] = []

    def prepare() -> object:
        production.reset()
        before[:] = [rotated.url]
        log.begin(production.traffic())
        return look()

    def look() -> object:
        eventually(lambda: production.answering_version() == GOOD)
        return rotated.agreed_url(), rotated.look()

    def is_done() -> bool:
        return rotated.agreed_url() not in before and production.running() == set(production.traffic())

    name, variables = "rotate-secrets", {PLATFORM: log.proxy.endpoint}
    return Practice(
        name, name, ENVIRONMENT, {}, prepare, look, is_done, "Done", log, variables, {"platform": log.proxy}
    )


def rotate_secrets_after_a_breach(rotated: Rotated, log: PlatformLog) -> Practice:
    """It only goes forward, killed or not."""
    practice = rotate_secrets(rotated, log)
    return practice._replace(name="rotate-secrets after a breach", parameters={"emergency": True})


def rotate_secrets_that_fails(rotated: Rotated, log: PlatformLog, afterwards: ExitStack) -> Practice:
    """Somebody does not leave the old login. So its own way back is killed, too."""
    practice = rotate_secrets(rotated, log)

    def prepare() -> object:
        afterwards.close()
        before = practice.prepare()
        afterwards.enter_context(psycopg.connect(rotated.url, connect_timeout=5, application_name=NIGHT_SHIFT))
        return before

    return practice._replace(
        name="rotate-secrets that fails", prepare=prepare, is_done=lambda: False, ending="Rolled back"
    )


def roll_back_rotation(rotated: Rotated, log: PlatformLog, records: Records, afterwards: ExitStack) -> Practice:
    """Of a rotation that was left open. It is left open once, and then made again as it was."""
    production = rotated.production
    left: list[_LeftOpen] = []

    def prepare() -> object:
        if not left:
            left.append(_LeftOpen(rotated, records))
            afterwards.callback(production.stack.run, "recover", "--settled", left[0].run_id)
        left[0].make_again()
        return look()

    def look() -> object:
        eventually(lambda: production.answering_version() == GOOD)
        return rotated.look(), rotated.accepted_logins(), records.open_rotations()

    def is_done() -> bool:
        is_back = rotated.agreed_url() == left[0].old and production.traffic() == left[0].before
        return is_back and production.running() == set(left[0].before) and records.open_rotations() == []

    name, variables = "roll-back-rotation", {PLATFORM: log.proxy.endpoint}
    return Practice(
        name, name, ENVIRONMENT, {}, prepare, look, is_done, "Done", None, variables, {"platform": log.proxy}
    )


def rotate_every_kind(mounted: Mounted, log: PlatformLog) -> Practice:
    """All but the database's. Who was logged in before it stays so, and what was uploaded is readable."""
    production = mounted.production
    before: dict[str, str] = {}
    session: dict[str, str] = {}
    upload: list[str] = []

    def prepare() -> object:
        production.reset()
        before.update(mounted.agreed_values())
        session.update(mounted.log_in())
        upload[:] = [mounted.upload()]
        mounted.give_webhook(secrets.token_urlsafe())
        log.begin(production.traffic())
        return look()

    def look() -> object:
        eventually(lambda: production.answering_version() == GOOD)
        assert (mounted.status(session), mounted.read(*upload)) == (200, UPLOADED)
        return mounted.agreed_values(), production.traffic(), production.running()

    def is_done() -> bool:
        now = mounted.agreed_values()
        assert (mounted.status(session), mounted.read(*upload)) == (200, UPLOADED)
        signs = now[SESSION].split(",")
        both_verify = signs[1:] == before[SESSION].split(",") and signs[0] not in signs[1:]
        return both_verify and all(now[name] != before[name] for name in (WEBHOOK, JOB, CACHE))

    variables = {PLATFORM: log.proxy.endpoint}
    return Practice(
        "rotate-secrets of every kind",
        "rotate-secrets",
        EVERY_KIND,
        {"secrets": "session, webhook, job, data, cache"},
        prepare,
        look,
        is_done,
        "Done",
        log,
        variables,
        {"platform": log.proxy},
    )


def rotate_in_actions(in_actions: InActions, log: PlatformLog) -> Practice:
    """One that a sink is given which gives nothing back."""
    return _rotate_beside(in_actions, log)._replace(name="rotate-secrets in Actions", environment=IN_ACTIONS)


def rotate_in_secret_manager(in_secret_manager: InSecretManager, log: PlatformLog) -> Practice:
    """One that a sink is given which keeps every value: the old ones can be asked for, or the new one alone."""
    practice = _rotate_beside(in_secret_manager, log)

    def look() -> object:
        return practice.look(), in_secret_manager.kept.disabled

    def prepare() -> object:
        practice.prepare()
        return look()

    def is_done() -> bool:
        kept = in_secret_manager.kept
        assert len(kept.changes) == len(set(kept.changes)), "each once"
        return practice.is_done() and kept.enabled() == [len(kept.versions)]

    return practice._replace(
        name="rotate-secrets in Secret Manager",
        environment=IN_SECRET_MANAGER,
        prepare=prepare,
        look=look,
        is_done=is_done,
    )


def _rotate_beside(beside: InActions | InSecretManager, log: PlatformLog) -> Practice:
    production = beside.production
    before = [""]

    def prepare() -> object:
        production.reset()
        beside.reset()
        before[:] = [beside.agreed_value()]
        log.begin(production.traffic())
        return look()

    def look() -> object:
        eventually(lambda: production.answering_version() == GOOD)
        return beside.agreed_value(), production.traffic(), production.running()

    def is_done() -> bool:
        return beside.agreed_value() not in before and production.running() == set(production.traffic())

    name, variables = "rotate-secrets", {PLATFORM: log.proxy.endpoint}
    proxies: dict[Place, FaultProxy] = {"platform": log.proxy, "sink": beside.proxy}
    return Practice(name, name, "", {}, prepare, look, is_done, "Done", log, variables, proxies)


def retire_previous(mounted: Mounted, log: PlatformLog) -> Practice:
    """The key that signed before is accepted no more."""
    practice, before = rotate_every_kind(mounted, log), [""]

    def prepare() -> object:
        if "," not in mounted.agreed_values()[SESSION]:
            rotated = mounted.rotate("session")
            assert rotated["ending"] == "Done", rotated["message"]
        before[:] = [mounted.agreed_values()[SESSION]]
        return practice.prepare()

    def is_done() -> bool:
        return mounted.agreed_values()[SESSION] == before[0].split(",")[0]

    return practice._replace(
        name="rotate-secrets, previous retired",
        parameters={"secrets": "session", "retire_previous": True},
        prepare=prepare,
        is_done=is_done,
    )


class _LeftOpen:
    """A rotation that needs a human: everything is new, and the old is accepted, too."""

    def __init__(self, rotated: Rotated, records: Records) -> None:
        self._rotated, self._production = rotated, rotated.production
        self.old, self.before = rotated.url, rotated.production.traffic()
        self.run_id = rotated.leave_open(records)
        self._new = rotated.sink.read(rotated.production.platform, [VARIABLE])
        (self._made,) = rotated.production.traffic()
        (self._row,) = self._ask_ledger("SELECT * FROM rotation WHERE run_id = %s", self.run_id)

    def make_again(self) -> None:
        self._ask_ledger("INSERT INTO rotation VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", *self._row)
        rotate_url = self._production.stack.surroundings["SHOP_PRODUCTION_ROTATE_DATABASE_URL"]
        new = conninfo_to_dict(self._new[VARIABLE])
        with psycopg.connect(rotate_url, autocommit=True, connect_timeout=5) as connection:
            set_password(connection, str(new["user"]), str(new["password"]))
        platform = self._production.platform
        platform.set_variables({**platform.read_variables(), **self._new})
        self._rotated.sink.write(platform, self._new)
        self._production.run_alone(self._made)

    def _ask_ledger(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        url = self._production.stack.layout.database_url("backstop")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(
                statement.encode(), [Jsonb(it) if isinstance(it, dict) else it for it in values]
            )
            return list(cursor.fetchall()) if cursor.description else []
