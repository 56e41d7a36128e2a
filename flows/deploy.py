"""Deploy a release, or put everything back.

plan → approval → lock → measure → [migrate] → tag → start → verify → 10 % → 50 % → 100 % of traffic → watch → verify
                                       └───── on any failure: all traffic back, then the schema, then the rest ─────┘
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

from pydantic import AfterValidator, Field

from blocks.environment import Environment
from blocks.errors import NotMeasurable, ReleaseIsBad
from blocks.platforms.interface import Release
from flows.guards.approval import approved
from flows.guards.armed import armed
from flows.guards.lock import check_still_ours, locked, monitoring, read_deploy_in_progress
from flows.guards.parameters import FilledInByRun, RequestedBy
from flows.guards.procedure import procedure
from flows.migrate_with_backup import migrated
from tasks.changelog import add_changelog_entry
from tasks.consumers import run_again
from tasks.deploy_plan import (
    DeployPlan,
    confirm_unchanged,
    plan_deploy,
    publish_plan,
    question_of,
    read_traffic_before,
    require_prerequisites,
)
from tasks.health import verify_release, verify_service
from tasks.issue import open_issue
from tasks.judgement import Judge
from tasks.ledger import phase
from tasks.migration_plan import MigrationPlan, plan_release_migration
from tasks.monitor import measure_baseline, monitor_release
from tasks.notice import announce
from tasks.progress import Progress
from tasks.release import (
    create_release_tag,
    delete_release_tag,
    follow_release,
    start_release,
    stop_release,
    wait_for_release,
)
from tasks.rollback import (
    find_good_release,
    give_all_traffic,
    read_versions_before,
    record_choice,
    retire_releases,
    return_traffic,
    stop_releases_of,
)
from tasks.rollback import question_of as question_of_rollback
from tasks.traffic import TrafficBefore, mix_in, read_main_release, shift_traffic
from tasks.verdict import Reading, Verdict
from tasks.version import MOST_CHARACTERS, PATTERN, check_version
from tasks.watch import Subject

Version = Annotated[
    str,
    AfterValidator(check_version),  # refuses in words; the schema can only quote the pattern
    Field(description="Release tag, as v1.2.0.", json_schema_extra={"pattern": PATTERN, "maxLength": MOST_CHARACTERS}),
]
Commit = Annotated[
    str,
    Field(
        description="Commit to tag as this version; empty when it is tagged.",
        json_schema_extra={"pattern": f"^$|{PATTERN}", "maxLength": MOST_CHARACTERS},
    ),
]
Hotfix = Annotated[bool, Field(description="Skip staging and watch closely for longer.")]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]
Target = Annotated[str, Field(max_length=64, description="Version to return to; empty for the last good one.")]
Cause = Annotated[str, Field(max_length=2000, description="Why, for the post-mortem.")]
Before = Annotated[
    TrafficBefore | None, FilledInByRun, Field(description="Filled in by a deploy's own rollback; leave empty.")
]


@procedure("deploy", run_name="deploy {version!s:.64} to {environment!s:.60}")
def deploy(
    environment: Environment,
    version: Version,
    commit: Commit = "",
    hotfix: Hotfix = False,
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Bring a release to an environment; every visitor is back on the old one within seconds if it is bad."""
    with phase("plan"):
        migration = plan_release_migration(environment, version, commit)
        plan = plan_deploy(environment, version, commit, hotfix, migration)
        publish_plan(plan)
    if plan_only:
        return f"Plan {plan.fingerprint} was made. Nothing was changed."
    require_prerequisites(plan)
    approved(environment, question_of(plan))

    with locked(environment):
        confirm_unchanged(plan, plan_deploy(environment, version, commit, hotfix, migration))
        announce(environment, f"Deploying {version} to {plan.environment}", f"It replaces {plan.replaces}.")
        control = _releases_with_traffic(environment, plan)
        judge = _prepare_judge(environment, control)
        with (
            _tag_withdrawn_on_failure(plan),
            _migrated(environment, migration),
            armed(roll_back_deploy, f"the traffic of {plan.environment}", before=plan.before.model_dump()),
        ):
            release = _bring_up(environment, plan)
            _roll_out(environment, plan, release, control, judge)
            with phase("verify service"):
                verify_service(environment.service, version)
        retire_releases(environment.platform, spare=environment.rollout.keep_releases)

    add_changelog_entry(plan)
    announce(environment, f"{version} is live in {plan.environment}", "\n".join(plan.changes))
    return f"{version} has all traffic of {plan.environment} and was verified; it replaced {plan.replaces}."


@procedure("roll-back-deploy", run_name="roll back {environment!s:.60}")
def roll_back_deploy(
    environment: Environment,
    to: Target = "",
    cause: Cause = "",
    before: Before = None,
    requested_by: RequestedBy = "",
) -> str:
    """Return all traffic to the release before, verify it, stop the one that was bad, and write down why."""
    if before is None:
        return _return_to_good_release(environment, to, cause)
    platform = environment.platform
    with locked(environment):
        with phase("traffic back"):
            return_traffic(environment, before)
        with phase("stop the release"):
            stop_releases_of(platform, before)
        versions = read_versions_before(platform, before)
        if versions:
            verify_service(environment.service, *versions)
    return f"All traffic of {environment.environment} is back on {' and '.join(versions) or 'no release'}."


@procedure("withdraw-release-tag", run_name="withdraw tag {version!s:.64}")
def withdraw_release_tag(environment: Environment, version: Version, commit: Commit) -> str:
    """Delete the tag that a deploy made for a release that was rolled back, unless it stands elsewhere by now."""
    with locked(environment):
        delete_release_tag(environment.source, version, commit)
    return f"The tag {version} is gone."


def _tag_withdrawn_on_failure(plan: DeployPlan) -> AbstractContextManager[None]:
    if plan.tag_exists:
        return nullcontext()
    return armed(withdraw_release_tag, f"the tag {plan.version}", version=plan.version, commit=plan.commit)


def _migrated(environment: Environment, plan: MigrationPlan | None) -> AbstractContextManager[None]:
    return migrated(environment, plan) if plan and plan.pending else nullcontext()


def _releases_with_traffic(environment: Environment, plan: DeployPlan) -> list[Release]:
    return [release for release in environment.platform.read_releases() if release.id in plan.before.split]


def _prepare_judge(environment: Environment, control: list[Release]) -> Judge:
    with phase("measure baseline"):
        baseline = measure_baseline(
            environment.metrics,
            control,
            environment.rollout.baseline_seconds,
            environment.limits.minimum_samples,
        )
    return Judge(environment.limits, baseline)


def _bring_up(environment: Environment, plan: DeployPlan) -> Release:
    platform, seconds = environment.platform, environment.rollout.start_seconds
    if not plan.tag_exists or plan.deployer == "tag":
        create_release_tag(environment.source, plan.version, plan.commit)
    if plan.deployer == "tag":
        with phase("follow what the tag set off"):
            return follow_release(environment, plan.version, seconds)
    with phase("start the release"):
        started = start_release(platform, plan.version, plan.commit)
        release = wait_for_release(platform, started.id, seconds)
    with phase("verify release"):
        verify_release(environment.service, release)
    return release


def _roll_out(
    environment: Environment, plan: DeployPlan, release: Release, control: list[Release], judge: Judge
) -> None:
    progress = Progress(plan.version, plan.step_seconds * (len(plan.steps) - 1) + plan.window_seconds)
    for percent in plan.steps:
        with phase(f"{percent} % of the traffic"):
            progress.mark(f"{percent} %")
            if plan.deployer == "platform":
                shift_traffic(environment.platform, mix_in(plan.before.split, release.id, percent), plan.before)
            last = percent == 100
            subject = Subject(environment.metrics, release, [] if last else control, environment.service.health)
            _watch(judge, subject, progress, plan.window_seconds if last else plan.step_seconds)
    progress.finish()


def _watch(judge: Judge, subject: Subject, progress: Progress, seconds: float) -> None:
    """Raises ReleaseIsBad or NotMeasurable as soon as that is clear."""

    def on_reading(reading: Reading) -> None:
        check_still_ours()
        progress.show(reading)

    with monitoring():
        verdict = monitor_release(judge, subject, seconds=seconds, last=not subject.control, on_reading=on_reading)
    _refuse(verdict)


def _refuse(verdict: Verdict) -> None:
    if verdict.outcome == "bad":
        raise ReleaseIsBad(verdict.reason)
    if verdict.outcome == "not measurable":
        raise NotMeasurable(verdict.reason)


def _return_to_good_release(environment: Environment, to: str, cause: str) -> str:
    platform, name = environment.platform, environment.environment
    approved(environment, question_of_rollback(name, to, cause))
    deploying = read_deploy_in_progress(environment)
    target = None if deploying and not to else find_good_release(environment, to)
    with locked(environment, preempt=True):
        main = read_main_release(platform)
        target = target or main or find_good_release(environment, to)
        before = read_traffic_before(platform, target.version)
        with armed(roll_back_deploy, f"the traffic of {name}", before=before.model_dump()):
            target = run_again(environment, target)
            verify_release(environment.service, target)
            with phase("traffic back"):
                give_all_traffic(platform, target)
            verify_service(environment.service, target.version)
        record_choice(main, target)
        if main and main.id != target.id:
            stop_release(platform, main.id)
    title = f"{name} was rolled back to {target.version}"
    announce(environment, title, cause or "No cause was given.")
    open_issue(environment, title, cause or "No cause was given.")
    return f"{target.version} has all traffic of {name} and was verified. Cause: {cause or 'not given'}."
