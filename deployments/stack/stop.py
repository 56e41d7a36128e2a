"""`down`: what `up` started is ended, in reverse order, and nothing else."""

from deployments.sandbox.leftovers import end_leftovers
from deployments.stack.layout import NAMES
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.processes import end, end_marked, is_alive
from deployments.stack.progress import Progress, Stopwatch
from deployments.stack.record import RecordFile
from deployments.stack.state import State


def bring_down(state: State, progress: Progress) -> int:
    """Return how many processes were ended."""
    file = RecordFile(state)
    ended = 0
    for name in sorted(file.record.components, key=NAMES.index, reverse=True):
        launched = file.record.components[name]
        if is_alive(launched):
            stopwatch = Stopwatch()
            progress.began(name, "ending")
            end(launched)
            progress.finished(name, f"ended in {stopwatch}")
            ended += 1
    left = end_marked(state) + _end_releases(state)
    if left:
        progress.say("left over", f"{len(left)} processes ended")
    if file.record.components:
        file.change(lambda record: record.components.clear())
    return ended + len(left)


def _end_releases(state: State) -> list[int]:
    """Releases of the sample service outlive a sandbox that was killed."""
    sandboxes = (state.folder / "sandbox").glob("*")
    return [pid for folder in sorted(sandboxes) for pid in end_leftovers(folder)]


def purge(state: State) -> None:
    """Delete all data of a stack that is down."""
    PostgresHome(state).purge()
    state.purge()
