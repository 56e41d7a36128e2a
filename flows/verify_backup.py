"""Verify a backup; after a full verification it is proven.

find → read every object again                                   (cheap)
     → restore into a throw-away server → compare → ask the assertions   (full) → write the result beside it
"""

from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from blocks.errors import BackupIsBad
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.catalogue import find_backup, find_newest
from tasks.ledger import current_run, phase
from tasks.notice import announce
from tasks.verification import make_proof, write_proof

Which = Annotated[str, Field(max_length=64, description="Id of the backup; empty for the newest one.")]
Full = Annotated[bool, Field(description="Restore it and compare every row; else only read it and check digests.")]


@procedure("verify-backup", run_name="verify a backup of {environment!s:.60}")
def verify_backup(
    environment: Environment,
    backup: Which = "",
    full: Full = True,
    requested_by: RequestedBy = "",
) -> str:
    """Find out whether a backup can be restored, by restoring it where it harms nobody."""
    found = find_backup(environment, backup) if backup else find_newest(environment)
    with locked(environment, aspect="proofs"):
        with phase("verify"):
            proof = make_proof(environment, found, full)
        write_proof(environment, proof)
    current_run().facts["proof"] = proof.model_dump(mode="json")
    if not proof.passed:
        announce(environment, f"A backup of {environment.environment} is bad: {found.id}", "\n".join(proof.findings))
        hint = "Do not rely on it: make a new backup now. The findings are kept beside it."
        raise BackupIsBad(f"{found.id} did not pass: {' '.join(proof.findings)}", hint)
    how = f"restored and compared, {found.manifest.rows} rows" if full else "every object has its digest"
    return f"{found.id} is {'proven' if full else 'whole'}: {how}, {proof.seconds:.1f} s."
