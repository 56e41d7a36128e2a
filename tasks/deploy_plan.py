"""What a deploy is about to do, as data: read from the real world, shown, then followed."""

import hashlib
from collections.abc import Iterator

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import Refused, Unmet
from blocks.platforms.interface import Capability, Platform
from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.migration_plan import MigrationPlan, migration_effect, publish_migration_plan
from tasks.prerequisite import Prerequisite, check_prerequisites, check_start
from tasks.question import Effect, Question
from tasks.traffic import TrafficBefore, read_main_release, starting_is_shifting
from tasks.version import check_version


class DeployPlan(BaseModel):
    """Everything that the deploy follows. Its fingerprint covers all of it but words and timings."""

    environment: str
    version: str
    commit: str
    tag_exists: bool
    before: TrafficBefore
    current_version: str
    changes: list[str]
    steps: list[int]
    step_seconds: float
    window_seconds: float
    deployer: str
    notes: list[str]
    migration: MigrationPlan | None
    """None where the environment names no migration tool."""
    prerequisites: list[Prerequisite]

    @property
    def replaces(self) -> str:
        """In words, for people."""
        return self.current_version or "nothing"

    @property
    def fingerprint(self) -> str:
        own = self.model_dump_json(exclude={"prerequisites", "migration"})
        migration = self.migration.fingerprint if self.migration else ""
        return hashlib.sha256(f"{own}{migration}".encode()).hexdigest()[:16]


@task(name="Plan deploy", cache_policy=NO_CACHE)
def plan_deploy(
    environment: Environment, version: str, commit: str, hotfix: bool, migration: MigrationPlan | None
) -> DeployPlan:
    """Read everything that the deploy depends on. Raises BadParameter for an impossible version."""
    check_version(version)
    if commit:
        check_version(commit, "commit")
    platform, source, rollout = environment.platform, environment.source, environment.rollout
    source.fetch_tags()
    tagged = source.read_tag(version)
    found = tagged or (source.read_commit(commit) if commit else None)
    main, start = read_main_release(platform), check_start(platform)
    weighted = Capability.WEIGHTED_TRAFFIC in platform.capabilities and rollout.deployer == "platform"
    return DeployPlan(
        environment=environment.environment,
        version=version,
        commit=found or "",
        tag_exists=tagged is not None,
        before=read_traffic_before(platform, version),
        current_version=main.version if main else "",
        changes=source.read_changes(main.commit, found) if main and found else [],
        steps=rollout.steps if weighted else [100],
        step_seconds=rollout.step_seconds,
        window_seconds=rollout.hotfix_window_seconds if hotfix else rollout.window_seconds,
        deployer=rollout.deployer,
        notes=[*_notes(platform, weighted), *([start.detail] if start.met and start.detail else [])],
        migration=migration,
        prerequisites=[
            *check_prerequisites(environment, version, found, main.version if main else None, hotfix),
            *([] if start.met else [start]),
            *(migration.prerequisites if migration else []),
        ],
    )


def _notes(platform: Platform, weighted: bool) -> list[str]:
    """What the platform cannot do, and what that means here."""
    notes = {
        "No gradual shift here: 0 → 100 %.": weighted,
        "Starting is shifting here: users meet the release before it is verified.": not starting_is_shifting(platform),
        "Nothing is stopped here: what loses its traffic stays, until the platform removes it.": (
            Capability.STOP in platform.capabilities
        ),
    }
    return [note for note, able in notes.items() if not able]


def read_traffic_before(platform: Platform, version: str) -> TrafficBefore:
    """What the run that brings `version` returns to if it has to."""
    return TrafficBefore(
        run_id=current_run().id,
        version=version,
        split=platform.read_traffic(),
        known=sorted(release.id for release in platform.read_releases()),
    )


def publish_plan(plan: DeployPlan) -> None:
    """Show the plan on the run's page, and record its fingerprint. That of its migrations is an artifact of its own."""
    if plan.migration and plan.migration.pending:
        publish_migration_plan(plan.migration, "migration")
    current_run().record("plan made", fingerprint=plan.fingerprint, version=plan.version, commit=plan.commit)
    current_run().facts.update(version=plan.version, commit=plan.commit, changes=plan.changes, plan=plan.fingerprint)
    create_markdown_artifact(
        "\n".join(_page(plan)),
        key="plan",
        description=f"{plan.replaces} → {plan.version} in {plan.environment}",
    )


def question_of(plan: DeployPlan) -> Question:
    """What its approvers decide on."""
    effects = [
        Effect(what=f"starts {plan.version} beside what runs", undo="the new release is stopped"),
        Effect(what=f"gives it {_steps(plan)} of the traffic", undo="all traffic back to where it is now"),
    ]
    if not plan.tag_exists:
        effects.insert(0, Effect(what=f"tags {plan.commit[:10]} as {plan.version}", undo="the tag is withdrawn"))
    if plan.migration and plan.migration.pending:
        effects.insert(0, migration_effect(plan.migration))
    return Question(
        title=f"Deploy {plan.version} to {plan.environment}",
        fingerprint=plan.fingerprint,
        facts={
            "commit": plan.commit,
            "replaces": plan.replaces,
            "traffic now": ", ".join(f"{release} {percent} %" for release, percent in plan.before.split.items())
            or "none",
            "watched for": f"{plan.window_seconds:g} s",
            "deployed by": plan.deployer,
            "changes": "; ".join(plan.changes) or "none known",
            "migrations": plan.migration.terms if plan.migration else "none",
        },
        effects=effects,
    )


def require_prerequisites(plan: DeployPlan) -> None:
    """Raises Unmet with every prerequisite that does not hold."""
    unmet = [f"{line.name}: {line.detail}" for line in plan.prerequisites if not line.met]
    if unmet:
        raise Unmet(f"{plan.version} cannot be deployed to {plan.environment} ({'; '.join(unmet)}).")


def confirm_unchanged(plan: DeployPlan, now: DeployPlan) -> None:
    """Under the lock, read again. Raises Refused when the world is no longer the plan's."""
    require_prerequisites(now)
    if now.fingerprint != plan.fingerprint:
        raise Refused(
            f"{plan.environment} changed since plan {plan.fingerprint} was made. Start again with a new plan."
        )


def _steps(plan: DeployPlan) -> str:
    return " → ".join(f"{percent} %" for percent in plan.steps)


def _page(plan: DeployPlan) -> Iterator[str]:
    tag = "" if plan.tag_exists else ", its tag withdrawn"
    yield f"# Deploy {plan.version} to {plan.environment}"
    yield f"**{plain(plan.current_version) or 'nothing'}** → **{plan.version}** · plan `{plan.fingerprint}`"
    yield ""
    yield f"- **Commit:** {plan.commit or 'unknown'}"
    yield f"- **Traffic:** {_steps(plan)}, then watched for {plan.window_seconds:g} s."
    yield f"- **Undo:** all traffic back to where it is now, the new release stopped{tag}."
    if plan.migration:
        yield f"- **Migrations:** {plan.migration.summary}."
    yield from (f"- {note}" for note in plan.notes)
    yield ""
    yield "## Changes"
    yield from [f"- {plain(change)}" for change in plan.changes] or ["None known."]
    yield ""
    yield "## Prerequisites"
    yield "| what must hold | | how it stands |"
    yield "|---|---|---|"
    yield from (f"| {line.name} | {'✓' if line.met else '✗'} | {plain(line.detail)} |" for line in plan.prerequisites)
