"""Catalogues of backups that nobody has to make: only what retention and objectives look at."""

from datetime import datetime, timedelta

from blocks.manifest import Manifest, Piece, Proof, new_id
from tasks.catalogue import Backup, Catalogue


def made_at(at: datetime, proven: bool = False, kind: str = "full", seconds: float = 60, tried: bool = False) -> Backup:
    """`tried`: a full verification failed."""
    manifest = Manifest.model_construct(
        id=new_id(at, f"{at}{kind}"),
        environment="shop",
        kind=kind,
        taken_at=at,
        finished_at=at + timedelta(seconds=seconds),
        seconds=seconds,
        small_files=Piece(name="files.tar.zst", size=1000, sha256=""),
        members=[],
        globals=None,
    )
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
