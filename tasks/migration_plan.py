"""What a migration is about to do, as data: what is pending, what its rehearsal showed, what must hold before."""

import hashlib
from collections.abc import Iterator

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, BadParameter, Unmet
from blocks.migrations.interface import Migration, MigrationFailed, MigrationStatus, Workspace
from blocks.postgres.connection import connect
from blocks.postgres.programs import find_programs_for
from blocks.postgres.schema import read_schema, schema_digest
from tasks.catalogue import find_backup
from tasks.ledger import current_run
from tasks.live_database import live_name, restore_url
from tasks.markdown import plain
from tasks.migration_workspace import checked_out, tool_of
from tasks.prerequisite import Prerequisite
from tasks.question import Effect, Question
from tasks.rehearsal import Rehearsal, rehearse
from tasks.risky_statements import Risk, find_risks
from tasks.trial import TrialResult


class MigrationPlan(BaseModel):
    """Everything that the migration follows."""

    environment: str
    version: str
    commit: str
    status: MigrationStatus
    live_schema_sha256: str
    rehearsal: Rehearsal | None
    """None where nothing is pending, or where it failed."""
    risks: list[Risk]
    stops_writes: bool
    why: str
    """Why it stops writes or does not."""
    meanwhile: str
    """What visitors meet while writes are stopped."""
    prerequisites: list[Prerequisite]

    @property
    def pending(self) -> list[Migration]:
        return self.status.pending

    @property
    def summary(self) -> str:
        """For people, in part of a line."""
        if not self.pending:
            return "none pending"
        rehearsed = f"rehearsed in {self.rehearsal.seconds:.1f} s" if self.rehearsal else "not rehearsed"
        return f"{len(self.pending)} pending, {rehearsed}, writes {'stopped' if self.stops_writes else 'go on'}"

    @property
    def terms(self) -> str:
        """What is applied, and how: without timings, which differ from rehearsal to rehearsal."""
        if not self.pending:
            return "none pending"
        return f"{', '.join(one.id for one in self.pending)}; writes {'stopped' if self.stops_writes else 'go on'}"

    @property
    def fingerprint(self) -> str:
        """Of what is applied to what. Timings differ from rehearsal to rehearsal."""
        pending = " ".join(one.id for one in self.pending)
        what = f"{self.commit} {self.status.revision} {pending} {self.live_schema_sha256} {self.stops_writes}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]


def migration_effect(plan: MigrationPlan) -> Effect:
    """What its approvers read about it, where it is part of a larger plan, too."""
    return Effect(
        what=f"migrates the database: {plan.terms}",
        undo="the way back that loses nothing (down-migrations seen to be exact, or the backup made before); else asks",
    )


def question_of(plan: MigrationPlan) -> Question:
    """What its approvers decide on."""
    return Question(
        title=f"Migrate {plan.environment} to {plan.version}",
        fingerprint=plan.fingerprint,
        facts={
            "commit": plan.commit,
            "revision now": plan.status.revision or "none",
            "schema now": plan.live_schema_sha256[:16],
            "pending": plan.terms,
            "why writes stop or go on": plan.why,
            "risks": "; ".join(risk.rule for risk in plan.risks) or "none found",
        },
        effects=[Effect(what="backs the database up", undo="the backup is kept"), migration_effect(plan)],
    )


def find_commit(environment: Environment, version: str, commit: str) -> str:
    """The commit whose migrations are meant. Raises BadParameter for a version without a tag, where none is named."""
    environment.source.fetch_tags()
    if commit:
        found = environment.source.read_commit(commit)
        if found is None:
            raise BadParameter("commit", commit, "a commit of the repository")
        return found
    found = environment.source.read_tag(version)
    if found is None:
        raise BadParameter("version", version, "a tag of the repository, or give its commit, too")
    return found


def plan_release_migration(environment: Environment, version: str, commit: str) -> MigrationPlan | None:
    """What a deploy brings along. None where the environment names no tool, or there is no such release."""
    if environment.migrations is None:
        return None
    try:
        found = find_commit(environment, version, commit)
    except BadParameter:
        return None
    return plan_migration(environment, version, found)


@task(name="Plan migration", cache_policy=NO_CACHE)
def plan_migration(environment: Environment, version: str, commit: str, stop_writes: str = "auto") -> MigrationPlan:
    """Read everything, and rehearse what is pending on the newest proven backup."""
    with checked_out(environment, commit) as workspace:
        return _plan(environment, workspace, version, commit, stop_writes)


def _plan(environment: Environment, workspace: Workspace, version: str, commit: str, stop_writes: str) -> MigrationPlan:
    tool = tool_of(environment)
    status, live_schema = tool.read_status(workspace), read_live_schema(environment)
    lines = [
        Prerequisite.told("no migration half-applied", status.failed is None, "none", f"{status.failed} was begun")
    ]
    rehearsal, risks = None, []
    if status.pending:
        rehearsal, line = _rehearsed(environment, workspace, status)
        lines += [line, *([_works_on_it(rehearsal.trial)] if rehearsal else [])]
        scripts = tool.read_sql(workspace, [one.id for one in status.pending])
        risks = find_risks(scripts) if scripts else []
    stops, why = _whether_writes_stop(stop_writes, rehearsal, tool.blocking_seconds)
    return MigrationPlan(
        environment=environment.environment,
        version=version,
        commit=commit,
        status=status,
        live_schema_sha256=schema_digest(live_schema),
        rehearsal=rehearsal,
        risks=risks,
        stops_writes=stops,
        why=why,
        meanwhile=environment.platform.meanwhile,
        prerequisites=lines,
    )


def read_live_schema(environment: Environment) -> str:
    """Without the table in which the tool keeps its record. Raises Unreachable or BackstopError."""
    url, name = restore_url(environment), live_name(environment)
    with connect(url, current_run().id, name) as connection:
        programs = find_programs_for(connection.info.server_version // 10_000)
    return read_schema(url, programs, current_run().id, name, tool_of(environment).record_table)


def publish_migration_plan(plan: MigrationPlan, key: str) -> None:
    """As an artifact of that key, and in the record."""
    pending = [one.id for one in plan.pending]
    current_run().record("plan made", fingerprint=plan.fingerprint, version=plan.version, pending=pending)
    current_run().facts["pending"] = pending
    if plan.rehearsal:
        current_run().facts["rehearsal"] = plan.rehearsal.model_dump(mode="json", exclude={"went", "came"})
    title = f"Migrate {plan.environment} to {plan.version or plan.commit[:10]}"
    create_markdown_artifact("\n".join(_page(plan, title)), key=key, description=title)


def require_possible(plan: MigrationPlan) -> None:
    """Raises Unmet with every prerequisite that does not hold."""
    unmet = [f"{line.name}: {line.detail}" for line in plan.prerequisites if not line.met]
    if unmet:
        raise Unmet(f"{plan.environment} cannot be migrated ({'; '.join(unmet)}).")


def _rehearsed(
    environment: Environment, workspace: Workspace, status: MigrationStatus
) -> tuple[Rehearsal | None, Prerequisite]:
    name = "rehearsal succeeds"
    try:
        backup = find_backup(environment, "latest")
        rehearsal = rehearse(environment, workspace, backup.manifest, status)
    except (MigrationFailed, BackstopError) as error:
        return None, Prerequisite.told(name, False, "", f"{error.message} {error.hint}".strip())
    return rehearsal, Prerequisite.told(name, True, f"{rehearsal.seconds:.1f} s on {rehearsal.backup}", "")


def _works_on_it(trial: TrialResult) -> Prerequisite:
    return Prerequisite.told(
        "running release works on the new schema",
        trial.outcome != "fails",
        f"{trial.version} {trial.outcome}: {trial.detail}".strip(),
        f"{trial.version} does not: {trial.detail}. Make it in two steps: one that only adds (expand), and when no"
        " release needs the old form any more, one that removes it (contract)",
    )


def _whether_writes_stop(wanted: str, rehearsal: Rehearsal | None, most_seconds: float) -> tuple[bool, str]:
    if wanted != "auto":
        return wanted == "yes", "as stop_writes says"
    if rehearsal is None:
        return False, "nothing is applied"
    rewritten = [table.table for table in rehearsal.tables if table.rewritten]
    if rewritten:
        return True, f"{', '.join(rewritten)} would be rewritten"
    if rehearsal.blocked_seconds > most_seconds:
        return True, f"a table would be blocked for {rehearsal.blocked_seconds:.1f} s"
    return False, f"no table is rewritten, or blocked for more than {most_seconds:g} s"


def _page(plan: MigrationPlan, title: str) -> Iterator[str]:
    yield f"# {title}"
    yield f"{len(plan.pending)} pending · plan `{plan.fingerprint}`"
    yield ""
    yield from (f"- **{plain(one.id)}** {plain(one.title)}" for one in plan.pending)
    yield f"- **Writes:** {'stopped' if plan.stops_writes else 'go on'}: {plan.why}."
    if plan.stops_writes:
        yield f"- **Meanwhile:** {plain(plan.meanwhile)}."
    if plan.rehearsal:
        yield from _rehearsal_lines(plan.rehearsal)
    yield from _risk_lines(plan.risks)
    yield "## Prerequisites"
    yield "| what must hold | | how it stands |"
    yield "|---|---|---|"
    yield from (f"| {line.name} | {'✓' if line.met else '✗'} | {plain(line.detail)} |" for line in plan.prerequisites)


def _rehearsal_lines(rehearsal: Rehearsal) -> Iterator[str]:
    yield f"- **Rehearsed** on {rehearsal.backup}: {rehearsal.seconds:.1f} s."
    back = rehearsal.way_back
    if back.is_exact:
        yield "- **Undo:** its way back brings schema and rows back exactly; refused where it would lose new data."
    else:
        reason = back.problem or "; ".join(back.losses[:3]) or "it leaves another schema"
        yield f"- **Undo:** not by its way back ({plain(reason)}): the backup is restored, where no write is lost."
    if rehearsal.tables:
        yield ""
        yield "| table | strongest lock | held | of others waits | rewritten |"
        yield "|---|---|--:|---|---|"
        for table in rehearsal.tables:
            rewritten = "yes" if table.rewritten else "no"
            yield f"| {plain(table.table)} | {table.mode} | {table.seconds:.2f} s | {table.stops} | {rewritten} |"
    yield ""


def _risk_lines(risks: list[Risk]) -> Iterator[str]:
    if not risks:
        return
    yield "## Risks"
    yield "| migration | statement | rule | why | safer |"
    yield "|---|---|---|---|---|"
    for risk in risks:
        cells = (risk.migration, risk.statement, risk.rule, risk.why, risk.safer_way)
        yield f"| {' | '.join(map(plain, cells))} |"
    yield ""
