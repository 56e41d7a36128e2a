"""The backups of an environment, as their manifests tell: no database has to survive for a restore."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from blocks.environment import Environment
from blocks.errors import BackupIsBad, BadParameter, Refused
from blocks.manifest import ID, Manifest, Proof
from blocks.stores.directory import DirectoryStore
from blocks.stores.interface import Store

MANIFEST = "manifest.json"
PROOFS = "proofs"
CLOCK_DIFFERENCE = timedelta(minutes=5)
"""Between two machines' clocks; a time further ahead is yet to come."""
_MOST_MANIFEST_BYTES = 64 << 20


class Backup(NamedTuple):
    """One complete backup in the store."""

    manifest: Manifest
    manifest_sha256: str
    proofs: list[Proof]
    """Oldest first; only those of this very manifest."""

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def dated(self) -> datetime:
        """The time it counts as: the database server's, unless the worker's clock says that it was earlier."""
        return min(self.manifest.taken_at, self.manifest.finished_at)

    @property
    def is_proven(self) -> bool:
        """Whether the newest full verification passed, and nothing was found since."""
        full = [proof for proof in self.proofs if proof.kind == "full"]
        return bool(full) and full[-1].passed and self.proofs[-1].passed


class Catalogue(NamedTuple):
    backups: list[Backup]
    """Oldest first."""
    unreadable: list[str]
    """Ids whose manifest is damaged, with the reason."""

    @property
    def newest(self) -> Backup | None:
        """The newest full one."""
        full = [backup for backup in self.backups if backup.manifest.kind == "full"]
        return full[-1] if full else None

    @property
    def newest_proven(self) -> Backup | None:
        proven = [backup for backup in self.backups if backup.is_proven]
        return proven[-1] if proven else None

    def up_to(self, now: datetime) -> "Catalogue":
        """Without those whose time is yet to come: a clock was wrong when they were made, or is wrong now."""
        ahead = {backup.id for backup in self.yet_to_come(now)}
        return Catalogue([backup for backup in self.backups if backup.id not in ahead], self.unreadable)

    def yet_to_come(self, now: datetime) -> list[Backup]:
        return [backup for backup in self.backups if backup.dated > now + CLOCK_DIFFERENCE]


def store_of(environment: Environment) -> Store:
    """Raises Refused where the environment keeps no backups."""
    if environment.store is None:
        raise Refused(
            f"{environment.environment} has no backup store.",
            "Add the part `store` to its file and apply it. Nothing was changed.",
        )
    return environment.store


def folder_of(environment: Environment, backup_id: str) -> str:
    return f"{environment.environment}/{backup_id}"


def read_catalogue(environment: Environment) -> Catalogue:
    """Every backup of the environment. Raises Unreachable."""
    store, prefix = store_of(environment), f"{environment.environment}/"
    names = [found.name for found in store.read_objects(prefix)]
    backups, unreadable = [], []
    for name in names:
        backup_id, _, rest = name.removeprefix(prefix).partition("/")
        if rest != MANIFEST:
            continue
        proofs = [found for found in names if found.startswith(f"{prefix}{backup_id}/{PROOFS}/")]
        try:
            backups.append(_read_backup(store, name, backup_id, environment.environment, proofs))
        except BackupIsBad as error:
            unreadable.append(f"{backup_id}: {error.message}")
    return Catalogue(sorted(backups, key=lambda backup: backup.dated), unreadable)


def find_backup(environment: Environment, which: str, at: datetime | None = None) -> Backup:
    """`latest` is the newest proven one, or the newest proven one at or before `at`; else the one of that id.

    Raises BadParameter with what there is, and for a time beside an id.
    """
    catalogue = read_catalogue(environment)
    if which not in ("", "latest"):
        if at:
            raise BadParameter("at", f"{at:%Y-%m-%dT%H:%M:%S%z}", f"none beside backup={which}: name one of both")
        for backup in catalogue.backups:
            if backup.id == which:
                return backup
        raise BadParameter("backup", which, _choice(catalogue))
    proven = [backup for backup in catalogue.backups if backup.is_proven]
    if at:
        proven = [backup for backup in proven if backup.dated <= at]
    if proven:
        return proven[-1] if at else _require_past(proven[-1], catalogue)
    when = f" at or before {at:%Y-%m-%d %H:%M:%S %Z}" if at else ""
    raise Refused(
        f"{environment.environment} has no proven backup{when}.",
        f"Prove one with verify-backup, or name one: {_choice(catalogue)}. Nothing was changed.",
    )


def parse_time(at: str, parameter: str = "at") -> datetime | None:
    """A time as somebody typed it; without a zone it is UTC, and empty it is none. Raises BadParameter."""
    if not at:
        return None
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        raise BadParameter(parameter, at, "a time as 2026-11-21T02:00:00+00:00") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def find_newest(environment: Environment) -> Backup:
    """The newest full backup, proven or not. Raises Refused when there is none."""
    newest = read_catalogue(environment).newest
    if newest is None:
        raise Refused(f"{environment.environment} has no backup.", "Make one with back-up-database.")
    return newest


def read_all(store: Store, name: str) -> bytes:
    """A small object, whole."""
    content = bytearray()
    for chunk in store.reading(name):
        content += chunk
        if len(content) > _MOST_MANIFEST_BYTES:
            raise BackupIsBad(f"{name} is larger than any manifest.")
    return bytes(content)


def is_local(store: Store) -> bool:
    """Whether what the store keeps is lost with this machine."""
    return isinstance(store, DirectoryStore)


def _read_backup(store: Store, name: str, backup_id: str, environment: str, proofs: list[str]) -> Backup:
    content = read_all(store, name)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError:
        raise BackupIsBad("its manifest cannot be read") from None
    if manifest.id != backup_id or not ID.fullmatch(backup_id) or manifest.environment != environment:
        raise BackupIsBad(f"its manifest is that of {manifest.id} of {manifest.environment}")
    digest = hashlib.sha256(content).hexdigest()
    read = [_read_proof(store, proof) for proof in proofs]
    return Backup(manifest, digest, [proof for proof in read if proof and proof.manifest_sha256 == digest])


def _read_proof(store: Store, name: str) -> Proof | None:
    try:
        return Proof.model_validate_json(read_all(store, name))
    except ValidationError:
        return None


def _require_past(newest: Backup, catalogue: Catalogue) -> Backup:
    """Which one is the newest, nobody knows where a clock is wrong."""
    if newest in catalogue.yet_to_come(datetime.now(UTC)):
        raise Refused(
            f"The newest proven backup, {newest.id}, is of a time yet to come: a clock was wrong, or is.",
            f"Name the one you mean: {_choice(catalogue)}. Nothing was changed.",
        )
    return newest


def _choice(catalogue: Catalogue) -> str:
    newest = [f"{backup.id}{' (proven)' if backup.is_proven else ''}" for backup in catalogue.backups[-5:]]
    return ", ".join(reversed(newest)) or "there is none yet; make one with back-up-database"
