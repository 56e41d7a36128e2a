"""The plan of a restore of tables, for people: on the run's page, in the trail and in the report."""

from collections.abc import Iterator

from prefect.artifacts import create_markdown_artifact

from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.table_restore.model import TableRestorePlan


def publish_table_plan(plan: TableRestorePlan) -> None:
    told = [str(loss) for loss in plan.losses]
    titles = [table.title for table in plan.tables]
    current_run().record("plan made", fingerprint=plan.fingerprint, backup=plan.backup.id, tables=titles, losses=told)
    current_run().facts.update(backup=plan.backup.id, plan=plan.fingerprint, tables=titles, losses=told)
    description = f"Restore tables of {plan.backup.id} in {plan.environment}"
    create_markdown_artifact("\n".join(_page(plan)), key="plan", description=description)


def _page(plan: TableRestorePlan) -> Iterator[str]:
    yield f"# Restore tables of {plan.backup.id} in {plan.environment}"
    yield f"Taken at **{plan.backup.taken_at:%Y-%m-%d %H:%M:%S %Z}** · mode **{plan.mode}** · plan `{plan.fingerprint}`"
    yield ""
    yield f"- **Beside:** the backup's rows go into schema `{plan.restored}` of `{plan.database}`, and are compared."
    if plan.mode != "beside":
        yield f"- **Undo:** what is changed is kept as it was in schema `{plan.before}`."
    yield from (f"- {plain(note)}" for note in plan.notes)
    yield ""
    yield "| table | rows now | rows in the backup | may lose rows |"
    yield "|---|--:|--:|---|"
    losing = {loss.table for loss in plan.losses}
    for table in plan.tables:
        now = table.rows_now if table.live else "none such"
        yield f"| {plain(table.title)} | {now} | {table.content.rows} | {'yes' if table.title in losing else 'no'} |"
    yield ""
    yield "| what must hold | | how it stands |"
    yield "|---|---|---|"
    for line in plan.prerequisites:
        yield f"| {plain(line.name)} | {'✓' if line.met else '✗'} | {plain(line.detail)} |"
