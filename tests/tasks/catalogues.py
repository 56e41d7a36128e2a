"""Catalogues of backups that nobody has to make: only what retention and objectives look at."""

from datetime import datetime, timedelta
from typing import Literal

from blocks.manifest import Manifest, Piece, Proof, new_id
from tasks.catalogue import Backup, Catalogue


def manifest_of(at: datetime, kind: Literal["full", "schema-only"] = "full", seconds: float = 60) -> Manifest:
    """Of an empty database."""
    return Manifest(
        id=new_id(at, f"{at}{kind}"),
        environment="shop",
        kind=kind,
        taken_at=at,
        finished_at=at + timedelta(seconds=seconds),
        seconds=seconds,
        small_files=Piece(name="files.tar.zst", size=1000, sha256=""),
        members=[],
        globals=None,
        wal_position="0/0",
        database="shop",
        owner="shop",
        encoding="UTF8",
        collation="C",
        character_type="C",
        locale_provider="c",
        server_version=160014,
        dump_version="16.14",
        backstop_version="0.1.0",
        release="",
        schema_revision="",
        extensions={},
        roles=[],
        tables=[],
        sequences=[],
        large_objects=0,
        large_objects_sha256="",
        database_bytes=0,
        content_bytes=0,
        run_id="run",
    )


def made_at(
    at: datetime,
    proven: bool = False,
    kind: Literal["full", "schema-only"] = "full",
    seconds: float = 60,
    tried: bool = False,
) -> Backup:
    """`tried`: a full verification failed."""
    manifest = manifest_of(at, kind, seconds)
    proofs = [
        Proof(
            backup=manifest.id,
            manifest_sha256="",
            kind="full",
            passed=proven,
            findings=[],
            verified_at=at,
            run_id="run",
            seconds=1,
        )
    ]
    return Backup(manifest, "", proofs if proven or tried else [])


def catalogue(*backups: Backup) -> Catalogue:
    return Catalogue(sorted(backups, key=lambda backup: backup.manifest.taken_at), [])
