"""Looking at whatever an environment names: that it can be reached, and allows what procedures need. Changes nothing.

A health check asks whether the service is well. This asks whether Backstop could act if it were not.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from blocks.cache import RedisCache
from blocks.cloud_sql import CloudSql
from blocks.database import PostgresDatabase
from blocks.environment import Environment
from blocks.errors import BackstopError, Refused
from blocks.notices import Notices
from blocks.pager import PagerDuty
from blocks.platforms.interface import Capability, Platform
from blocks.postgres.connection import connect
from blocks.postgres.programs import find_programs_for
from blocks.rate_limit import watching_quota
from blocks.reference import resolve
from blocks.secrets.interface import AnySink, RotatedSecret
from blocks.sinks.interface import ReadableSink
from blocks.sources.git_repository import GitRepository
from blocks.status_page import Statuspage
from blocks.stores.interface import Store
from tasks.health import Check, read_version
from tasks.traffic import check_steps, read_main_release

_AT_ONCE = 8
_SCARCE = 0.05
"""Of a vendor's calls. A rollout looks at its platform once a second or more."""
_ROLE = (
    "SELECT rolname, rolcreatedb OR rolsuper, current_setting('server_version'),"
    " current_setting('server_version_num')::integer / 10000 FROM pg_roles WHERE rolname = current_user"
)
_UNREADABLE = (
    "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE relkind IN ('r', 'p', 'S') AND nspname NOT IN ('pg_catalog', 'information_schema')"
    " AND nspname NOT LIKE 'pg\\_toast%%' AND nspname NOT LIKE 'pg\\_temp%%'"
    " AND NOT (has_table_privilege(pg_class.oid, 'SELECT') AND has_schema_privilege(relnamespace, 'USAGE'))"
    " ORDER BY 1 LIMIT 3"
)


class _Look(NamedTuple):
    name: str
    at: Callable[[], str]
    """What is found. Raises BackstopError where something is not as it should be."""


def examine(environment: Environment) -> list[Check]:
    """A line for each thing that is named, in the environment's own order; several are looked at at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_look, _looks(environment)))


def _looks(environment: Environment) -> list[_Look]:
    platform, source = environment.platform, environment.source
    looks = [_Look("platform", partial(_releases, platform)), _Look("platform can", partial(_able, platform))]
    if environment.rollout.deployer == "platform":
        looks.append(_Look("rollout's steps", partial(check_steps, environment)))
    if Capability.READ_VARIABLES in platform.capabilities:
        looks.append(_Look("platform's variables", partial(_variables, platform)))
    looks += [
        _Look("service", partial(_version, environment)),
        _Look("metrics", partial(_sample, environment)),
        _Look("source", partial(_head, source)),
    ]
    if source.ci_url:
        looks.append(_Look("CI", partial(_ci, source)))
    looks += [
        _Look(f"channel {channel}", partial(_address, environment.notices, channel))
        for channel in environment.notices.channels
    ]
    if pager := environment.notices.pager:
        looks.append(_Look("pager", partial(_pager, pager)))
    if page := environment.notices.status_page:
        looks.append(_Look("status page", partial(_status_page, page)))
    for name, store in {"store": environment.store, "region copy": environment.region_copy}.items():
        if store:
            looks.append(_Look(name, partial(_objects, store, environment.environment)))
    if identity := environment.backups.identity:
        looks.append(_Look("backups' identity", partial(_known, identity)))
    if database := environment.database:
        looks += _roles(database)
        if cloud_sql := database.cloud_sql:
            looks.append(_Look("Cloud SQL", partial(_points_in_time, cloud_sql)))
    if cache := environment.cache:
        looks.append(_Look("Redis", partial(_ping, cache)))
    for name, secret in environment.secrets.rotated.items() if environment.secrets else ():
        looks += [_Look(f"secret {name}", partial(_held, platform, secret, sink)) for sink in secret.sinks]
    return looks


def _look(look: _Look) -> Check:
    began = time.monotonic()
    try:
        passed, detail, hint = True, _with_quota(look), ""
    except BackstopError as error:
        passed, detail, hint = False, error.message, error.hint
    except OSError as error:
        passed, detail, hint = False, f"{type(error).__name__}: {error}"[:200], ""
    milliseconds = (time.monotonic() - began) * 1000
    return Check(name=look.name, passed=passed, detail=detail, hint=hint, milliseconds=milliseconds)


def _with_quota(look: _Look) -> str:
    """What is found, and how many calls its vendor still takes, where it says so."""
    with watching_quota() as told:
        found = look.at()
    if not told:
        return found
    left, most = told[-1]
    if left < most * _SCARCE:
        raise Refused(
            f"{found}; but only {left} of {most} calls are left.",
            "Wait until the vendor's window is over, or look who else uses the token.",
        )
    return f"{found}; {left} of {most} calls left"


def _releases(platform: Platform) -> str:
    traffic, releases, free = platform.read_traffic(), platform.read_releases(), platform.read_free_disk()
    serving = [f"{one.version} {traffic[one.id]} %" for one in releases if one.id in traffic]
    room = "" if free is None else f"; {free / 1e9:.1f} GB free"
    return f"{len(releases)} releases; traffic: {', '.join(serving) or 'none'}{room}"


def _able(platform: Platform) -> str:
    """What it cannot is no fault: the plan of a procedure says what that means there."""
    missing = [capability.value for capability in Capability if capability not in platform.capabilities]
    able = f"all but {', '.join(missing)}" if missing else "all that procedures ask for"
    start = platform.describe_start()
    return f"{able}. {start}" if start else able


def _variables(platform: Platform) -> str:
    return f"{len(platform.read_variables())} can be read"


def _version(environment: Environment) -> str:
    return f"answers version {read_version(environment.service, resolve(environment.service.url)) or 'none'}"


def _sample(environment: Environment) -> str:
    release = read_main_release(environment.platform)
    if release is None:
        return "no release has traffic yet"
    sample = environment.metrics.read_sample(release)
    return f"{sample.requests:.0f} requests to {release.version}, {sample.errors:.0f} of them with errors"


def _head(source: GitRepository) -> str:
    """Its remote is asked, too."""
    commit = source.read_commit("HEAD")
    if commit is None:
        raise Refused("It has no commit.", "Look at its folder.")
    return f"{commit[:10]}; its remote is at {source.read_remote_head()[:10]}" if source.remote else commit[:10]


def _ci(source: GitRepository) -> str:
    commit = source.read_commit("HEAD") or ""
    failing = source.read_failing_checks(commit)
    return f"answers; {commit[:10]} is {'not green' if failing else 'green'}"


def _address(notices: Notices, channel: str) -> str:
    notices.check(channel)
    return "can be sent to"


def _pager(pager: PagerDuty) -> str:
    resolve(pager.routing_key)
    return "has a routing key; PagerDuty has no call that only looks at it"


def _status_page(page: Statuspage) -> str:
    return f"answers; {page.count_unresolved()} incidents are not resolved"


def _objects(store: Store, environment: str) -> str:
    first, free = next(iter(store.read_objects(f"{environment}/")), None), store.read_free_bytes()
    room = "" if free is None else f"; {free / 1e9:.1f} GB free"
    return f"{'has' if first else 'has no'} backups of {environment}{room}"


def _known(reference: str) -> str:
    resolve(reference)
    return "is there"


def _ping(cache: RedisCache) -> str:
    cache.ping()
    return "answers"


def _roles(database: PostgresDatabase) -> list[_Look]:
    backup, restore = database.backup_url or database.url, database.restore_url
    looks = [
        _Look("database", partial(_role, database.url)),
        _Look("database, to back up", partial(_role, backup, reads=True)),
    ]
    if restore:
        looks.append(_Look("database, to restore", partial(_role, restore, creates=True)))
    return looks


def _points_in_time(cloud_sql: CloudSql) -> str:
    """To which it can go back. Whether the account may clone, Google says only to those who do."""
    instance = cloud_sql.read_instance(cloud_sql.instance)
    users = cloud_sql.count_users(instance.name)
    clones = ", ".join(one.name for one in cloud_sql.read_clones()) or "none"
    told = f"{instance.name} is {instance.state}, {instance.databaseVersion} on {instance.settings.tier}; {users} users"
    if not instance.recovers_to_points:
        raise Refused(f"{told}; it keeps no points in time.", "Switch point-in-time recovery on for it.")
    earliest, latest = (f"{at:%Y-%m-%d %H:%M}" for at in cloud_sql.read_window(instance.name))
    return f"{told}; goes back to {earliest} at the earliest, {latest} at the latest; clones: {clones}"


def _role(url: str, creates: bool = False, reads: bool = False) -> str:
    """Who logs in there, and whether that role may do what it is there for (docs/database-roles.md)."""
    with connect(resolve(url), "doctor") as connection:
        name, may_create, version, major = connection.execute(_ROLE).fetchall()[0]
        if creates and not may_create:
            raise Refused(f"The role {name} may not create databases.", f"ALTER ROLE {name} CREATEDB; or name another.")
        unreadable = [str(table) for (table,) in connection.execute(_UNREADABLE)] if reads else []
    if unreadable:
        raise Refused(
            f"The role {name} may not read {', '.join(unreadable)}.",
            f"GRANT pg_read_all_data TO {name}; or name another.",
        )
    programs = find_programs_for(int(str(major)))
    return f"PostgreSQL {version} as {name}; programs of {programs.version} are here"


def _held(platform: Platform, secret: RotatedSecret, sink: AnySink) -> str:
    """Of several variables not all need to be there: the next key, for one, is there only at times."""
    if isinstance(sink, ReadableSink):
        held, told = sink.read(platform, secret.variables), ""
    else:
        held, told = sink.read_marks(platform, secret.variables), ", which cannot be read back"
    if not held:
        raise Refused(
            f"{sink.named} has no {' and no '.join(secret.variables)}.", "Put the value that is in use there."
        )
    return f"{' and '.join(held)} in {sink.named}{told}"
