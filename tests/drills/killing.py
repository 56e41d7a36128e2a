"""A procedure whose process is killed, or stopped, at a moment, and what became of it."""

import os
import signal
from contextlib import AbstractContextManager, closing

import psutil

from blocks.ledger.connection import connect
from blocks.ledger.dead_runs import end_dead_run, read_dead_runs
from tests.blocks.platforms.waiting import eventually
from tests.drills.forked import Forked
from tests.drills.moments import Moment, Place, Strike
from tests.drills.outcome import Outcome, Practice, Survived
from tests.drills.watched import Watched, watched
from tests.ended import have_ended
from tests.flows.records import RUN_SECONDS, Records
from tests.running_stack import RunningStack


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


class Family:
    """A process that is killed, and the children that it had then."""

    def __init__(self) -> None:
        self._children: list[psutil.Process] = []

    def kill(self, pid: int) -> None:
        self._children = psutil.Process(pid).children(recursive=True)
        kill(pid)

    def check_gone(self) -> None:
        """They go by themselves, some seconds later at most."""
        eventually(lambda: have_ended(*self._children), RUN_SECONDS)


class Drill:
    """With the stack's supervisor standing still: what it would do is done at once."""

    def __init__(
        self, stack: RunningStack, forked: Forked, records: Records, crossed: dict[str, dict[Place, list[str]]]
    ) -> None:
        self._stack, self._forked, self._records, self._crossed = stack, forked, records, crossed
        self._ledger = stack.surroundings["BACKSTOP_LEDGER_URL"]
        self._outcome = Outcome(records, self._ledger)
        self._family = Family()

    def read_crossed(self, practice: Practice) -> dict[Place, list[str]]:
        """The boundaries of a run that nobody kills; it is run once for all drills."""
        if practice.name not in self._crossed:
            self._crossed[practice.name] = self._run_to_the_end(practice)
        return self._crossed[practice.name]

    def kill(self, practice: Practice, moment: Moment) -> Survived:
        """Kill it there, recover, and look: it must have come to an ending, in the state that goes with it."""
        before, earlier = self._prepare(practice), self._records.newest_run(practice.environment)
        what = self._kill(practice.procedure, practice, moment, **practice.parameters)
        run_id = self._records.newest_run(practice.environment)
        if run_id == earlier:
            assert practice.look() == before
            return Survived(moment, what, "")
        self._recover(practice.environment)
        self._family.check_gone()
        survived = self._survived(practice, before, run_id, moment, what)
        if practice.is_whole_half_way and survived.ending == "Needs a human":
            self._go_on(practice)
        return survived

    def read_recover(self, practice: Practice, first: Moment) -> dict[Place, list[str]]:
        """The boundaries of the recover that follows when it is killed at `first`."""
        self._prepare(practice)
        self._kill(practice.procedure, practice, first, **practice.parameters)
        with self._watched(practice) as process:
            self._forked.run("recover", practice.environment, process)
        return process.recorder.crossed

    def kill_recover(self, practice: Practice, first: Moment, moment: Moment) -> Survived:
        """Kill it at `first`, then the recover that follows at `moment`."""
        before = self._prepare(practice)
        self._kill(practice.procedure, practice, first, **practice.parameters)
        run_id = self._records.newest_run(practice.environment)
        what = self._kill("recover", practice, moment)
        self._recover(practice.environment)
        return self._survived(practice, before, run_id, moment, f"recover: {what}")

    def stop(self, practice: Practice, moment: Moment) -> Survived:
        """Stop it there, and cut it off; recover; then let it go on: it must not do anything any more."""
        before, earlier = self._prepare(practice), self._records.newest_run(practice.environment)
        with self._watched(practice, Strike(moment, stop)) as process:
            pid = self._forked.begin(practice.procedure, practice.environment, process, **practice.parameters)
            try:
                assert process.recorder.struck.wait(RUN_SECONDS), f"{moment} never came: {process.recorder.crossed}"
                run_id = self._records.newest_run(practice.environment)
                if run_id != earlier:
                    self._recover_elsewhere(practice)
                    survived = self._survived(practice, before, run_id, moment, process.recorder.struck_at)
            except BaseException:
                kill(pid)
                raise
            else:
                os.kill(pid, signal.SIGCONT)
            finally:
                self._forked.result()
        if run_id == earlier:
            assert practice.look() == before
            return Survived(moment, "", "")
        again = self._survived(practice, before, run_id, moment, survived.what)
        assert again == survived, "it went on after it was taken over"
        return survived

    def _go_on(self, practice: Practice) -> None:
        """Started again, it ends well."""
        ended = self._forked.run(practice.procedure, practice.environment, None, **practice.parameters)
        assert ended["ending"] == "Done", ended["message"]
        assert practice.is_done(), ended["message"]

    def _run_to_the_end(self, practice: Practice) -> dict[Place, list[str]]:
        self._prepare(practice)
        with self._watched(practice) as process:
            ended = self._forked.run(practice.procedure, practice.environment, process, **practice.parameters)
        assert ended["ending"] == practice.ending, ended["message"]
        self._outcome.check_log(practice, ended["ending"])
        return process.recorder.crossed

    def _watched(self, practice: Practice, strike: Strike | None = None) -> AbstractContextManager[Watched]:
        return watched(self._ledger, practice.proxies, strike)

    def _prepare(self, practice: Practice) -> object:
        self._forked.variables = practice.variables
        return practice.prepare()

    def _kill(self, procedure: str, practice: Practice, moment: Moment, **parameters: object) -> str:
        """What was about to cross, or had just crossed.

        A fork of a process with threads dies of itself once in a long while: a death as good as any other.
        """
        with self._watched(practice, Strike(moment, self._family.kill)) as process:
            ended = self._forked.run(procedure, practice.environment, process, **parameters)
        recorder = process.recorder
        assert recorder.struck.is_set() or ended is None, f"{moment} never came: {recorder.crossed}"
        return recorder.struck_at or f"{recorder.crossed['ledger'][-1]}, of itself"

    def _recover(self, environment: str) -> None:
        """What the supervisor does: recover where something is armed, and the endings of those that died."""
        if self._records.armed(environment):
            ended = self._forked.run("recover", environment)
            assert ended["ending"] == "Done", ended["message"]
        self._end_dead_runs()

    def _recover_elsewhere(self, practice: Practice) -> None:
        """The same, while a run of the forked ones stands still. One that was not cut off has to be silent first."""
        runner = self._stack.runner.get({**self._stack.surroundings, **practice.variables})

        def is_recovered() -> bool:
            ended = runner.run("recover", practice.environment)
            assert ended["ending"] == "Done" or "is held by" in ended["message"], ended["message"]
            return bool(ended["ending"] == "Done")

        if self._records.armed(practice.environment):
            eventually(is_recovered, RUN_SECONDS)
        self._end_dead_runs()

    def _end_dead_runs(self) -> None:
        with closing(connect("drill", self._ledger)) as connection:
            for dead in read_dead_runs(connection):
                end_dead_run(connection, dead)

    def _survived(self, practice: Practice, before: object, run_id: str, moment: Moment, what: str) -> Survived:
        ending = self._outcome.check(practice, before, run_id, f"{moment.side} {what!r}")
        self._outcome.check_log(practice, ending)
        return Survived(moment, what, ending)
