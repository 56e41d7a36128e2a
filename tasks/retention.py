"""Which backups are kept, which go, and the going: never the newest, never the last proven one, never what is held."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.backups import Backups
from blocks.environment import Environment
from blocks.errors import Refused
from blocks.manifest import ID
from blocks.stores.interface import Store, StoredObject
from tasks.backup import ABANDONED
from tasks.catalogue import MANIFEST, Backup, Catalogue, folder_of, read_catalogue, store_of
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.question import Effect, Question, fingerprint_of
from tasks.retry import is_passing
from tasks.transfer_progress import in_words

MONTHLY = "monthly"


class Fate(BaseModel):
    """What becomes of one backup."""

    backup: str
    taken_at: datetime
    bytes: int
    proven: bool
    kept_as: list[str]
    """Why it is kept; empty when it goes."""
    goes_cold: bool = False


class PrunePlan(BaseModel):
    environment: str
    fates: list[Fate]
    leftovers: list[str]
    """Objects of backups that never got a manifest, a day old and more."""

    @property
    def going(self) -> list[Fate]:
        return [fate for fate in self.fates if not fate.kept_as]

    @property
    def going_cold(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.goes_cold]


def question_of(plan: PrunePlan) -> Question:
    """What its approvers decide on."""
    facts = {
        "deleted": ", ".join(fate.backup for fate in plan.going) or "none",
        "to cold storage": ", ".join(fate.backup for fate in plan.going_cold) or "none",
        "leftover objects": ", ".join(plan.leftovers) or "none",
    }
    return Question(
        title=f"Delete {len(plan.going)} of {len(plan.fates)} backups of {plan.environment}",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[Effect(what="deletes backups and leftover objects", undo="")],
    )


def require_unchanged(plan: PrunePlan, now: PrunePlan) -> None:
    """Raises Refused when other backups would go than those that were shown."""
    if (now.going, now.going_cold) != (plan.going, plan.going_cold):
        raise Refused(
            f"The backups of {plan.environment} changed since the plan was made.", "Start again. Nothing was changed."
        )


def choose(catalogue: Catalogue, policy: Backups, held: Callable[[Backup], str] = lambda backup: "") -> list[Fate]:
    """What becomes of each backup, oldest first.

    A day, week or month counts when it has a backup, and ages are taken from the newest one:
    neither a gap nor a clock that jumped makes anything go. `held` tells why a store refuses.
    """
    reasons: dict[str, list[str]] = {backup.id: [] for backup in catalogue.backups}
    for kind in ("full", "schema-only"):
        backups = [backup for backup in catalogue.backups if backup.manifest.kind == kind]
        for name, count, bucket in _series(policy):
            for backup in _newest_of_each(backups, count, bucket):
                reasons[backup.id].append(name)
        for backup in backups:
            if policy.keep_days and backup.dated > _age_limit(backups, policy):
                reasons[backup.id].append(f"{policy.keep_days} days")
        if backups:
            reasons[backups[-1].id].append("newest")
    if catalogue.newest_proven:
        reasons[catalogue.newest_proven.id].append("newest proven")
    for backup in catalogue.backups:
        why = held(backup)
        if why:
            reasons[backup.id].append(why)
    return [_fate(backup, reasons[backup.id]) for backup in catalogue.backups]


@task(name="Plan pruning", cache_policy=NO_CACHE)
def plan_pruning(environment: Environment) -> PrunePlan:
    """Raises Refused for a policy that keeps nothing."""
    policy, store = environment.backups, store_of(environment)
    if not (policy.keep_daily or policy.keep_weekly or policy.keep_monthly or policy.keep_days):
        raise Refused(
            f"The environment {environment.environment} says of no backup that it is kept.",
            "Set backups.keep_daily, keep_weekly, keep_monthly or keep_days. Nothing was changed.",
        )
    catalogue, now = read_catalogue(environment), datetime.now(UTC)
    damaged = {line.partition(":")[0] for line in catalogue.unreadable}
    known = {backup.id for backup in catalogue.backups} | damaged
    return PrunePlan(
        environment=environment.environment,
        fates=[
            *choose(catalogue.up_to(now), policy, lambda backup: _hold_of(environment, store, backup)),
            *(_fate(backup, ["its time is yet to come"]) for backup in catalogue.yet_to_come(now)),
        ],
        leftovers=[found.name for found in _leftovers(store, f"{environment.environment}/", known)],
    )


def publish_prune_plan(plan: PrunePlan) -> None:
    going = [fate.backup for fate in plan.going]
    current_run().record("plan made", going=going, cold=[fate.backup for fate in plan.going_cold])
    create_table_artifact(
        [
            {
                "backup": fate.backup,
                "taken at": f"{fate.taken_at:%Y-%m-%d %H:%M}",
                "size": in_words(fate.bytes),
                "proven": "yes" if fate.proven else "no",
                "what becomes of it": f"kept: {', '.join(fate.kept_as)}" if fate.kept_as else "GOES",
                "storage": "cold" if fate.goes_cold else "",
            }
            for fate in reversed(plan.fates)
        ],
        key="plan",
        description=f"{len(going)} of {len(plan.fates)} backups of {plan.environment} go",
    )


# Repeating is safe: what is gone stays gone, and the manifest goes first.
@task(name="Delete backup", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=2, retry_condition_fn=is_passing)
def delete_backup(environment: Environment, backup_id: str) -> None:
    """Only what its manifest names, and its proofs: what somebody else put there stays."""
    store, folder = store_of(environment), folder_of(environment, backup_id)
    found = [backup for backup in read_catalogue(environment).backups if backup.id == backup_id]
    if not found:
        return
    names = [f"{folder}/{MANIFEST}", *(f"{folder}/{piece.name}" for piece in found[0].manifest.pieces)]
    names += [proof.name for proof in store.read_objects(f"{folder}/proofs/")]
    with effect("delete backup", backup=backup_id):
        for name in names:
            store.delete_object(name)


# Repeating is safe: what is cold stays cold.
@task(name="Move to cold", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=2, retry_condition_fn=is_passing)
def move_backup_to_cold(environment: Environment, backup_id: str) -> bool:
    """False where the store has no cheaper class. The manifest stays where it is read at once."""
    store, folder = store_of(environment), folder_of(environment, backup_id)
    found = [backup for backup in read_catalogue(environment).backups if backup.id == backup_id]
    with effect("move to cold", backup=backup_id):
        moved = [store.move_to_cold(f"{folder}/{piece.name}") for one in found for piece in one.manifest.pieces]
    return all(moved)


# Repeating is safe: what is gone stays gone.
@task(name="Delete leftovers", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=2, retry_condition_fn=is_passing)
def delete_leftovers(environment: Environment, names: list[str]) -> None:
    with effect("delete leftovers", names=names[:100], count=len(names)):
        for name in names:
            store_of(environment).delete_object(name)


def _fate(backup: Backup, kept_as: list[str]) -> Fate:
    return Fate(
        backup=backup.id,
        taken_at=backup.dated,
        bytes=backup.manifest.stored_bytes,
        proven=backup.is_proven,
        kept_as=kept_as,
        goes_cold=kept_as == [MONTHLY],
    )


def _series(policy: Backups) -> Iterator[tuple[str, int, Callable[[datetime], object]]]:
    yield "daily", policy.keep_daily, lambda at: at.date()
    yield "weekly", policy.keep_weekly, lambda at: at.isocalendar()[:2]
    yield MONTHLY, policy.keep_monthly, lambda at: (at.year, at.month)


def _newest_of_each(backups: list[Backup], count: int, bucket: Callable[[datetime], object]) -> list[Backup]:
    newest = {bucket(backup.dated.astimezone(UTC)): backup for backup in backups}
    return list(newest.values())[-count:] if count else []


def _age_limit(backups: list[Backup], policy: Backups) -> datetime:
    return backups[-1].dated - timedelta(days=policy.keep_days)


def _hold_of(environment: Environment, store: Store, backup: Backup) -> str:
    return store.read_hold(f"{folder_of(environment, backup.id)}/{backup.manifest.small_files.name}")


def _leftovers(store: Store, prefix: str, known: set[str]) -> Iterator[StoredObject]:
    """Objects in a folder that is named like a backup and has no manifest. Younger ones may still become one."""
    limit = datetime.now(UTC) - ABANDONED
    for found in store.read_objects(prefix):
        folder, _, name = found.name.removeprefix(prefix).partition("/")
        if ID.fullmatch(folder) and folder not in known and "/" not in name and found.modified_at < limit:
            yield found
