"""A procedure whose process is killed, or stopped, at a write into the ledger, and what became of it."""

import os
import signal
from contextlib import closing

from blocks.ledger.connection import connect
from blocks.ledger.dead_runs import end_dead_run, read_dead_runs
from tests.drills.forked import Forked
from tests.drills.ledger_proxy import Moment, Strike, ledger_proxy
from tests.drills.outcome import Outcome, Practice, Survived
from tests.flows.records import RUN_SECONDS, Records
from tests.running_stack import RunningStack


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


class Drill:
    """With the stack's supervisor standing still: what it would do is done at once."""

    def __init__(self, stack: RunningStack, forked: Forked, records: Records, writes: dict[str, list[str]]) -> None:
        self._stack, self._forked, self._records, self._writes = stack, forked, records, writes
        self._ledger = stack.surroundings["BACKSTOP_LEDGER_URL"]
        self._outcome = Outcome(records, self._ledger)

    def read_writes(self, practice: Practice) -> list[str]:
        """Those of a run that nobody kills; it is run once for all drills."""
        if practice.name not in self._writes:
            self._writes[practice.name] = self._run_to_the_end(practice)
        return self._writes[practice.name]

    def kill(self, practice: Practice, moment: Moment) -> Survived:
        """Kill it there, recover, and look: it must have come to an ending, in the state that goes with it."""
        before, earlier = self._prepare(practice), self._records.newest_run(practice.environment)
        what = self._kill(practice.procedure, practice, moment, **practice.parameters)
        run_id = self._records.newest_run(practice.environment)
        if run_id == earlier:
            assert practice.look() == before
            return Survived(moment, what, "")
        self._recover(practice.environment)
        return self._survived(practice, before, run_id, moment, what)

    def read_recover(self, practice: Practice, first: Moment) -> list[str]:
        """The writes of the recover that follows when it is killed at `first`."""
        self._prepare(practice)
        self._kill(practice.procedure, practice, first, **practice.parameters)
        with ledger_proxy(self._ledger) as proxy:
            self._forked.run("recover", practice.environment, proxy)
        return proxy.writes

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
        with ledger_proxy(self._ledger, Strike(moment, stop)) as proxy:
            pid = self._forked.begin(practice.procedure, practice.environment, proxy, **practice.parameters)
            try:
                assert proxy.struck.wait(RUN_SECONDS), f"{moment} never came: {proxy.writes}"
                run_id = self._records.newest_run(practice.environment)
                if run_id != earlier:
                    self._recover_elsewhere(practice)
                    survived = self._survived(practice, before, run_id, moment, proxy.writes[-1])
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

    def _run_to_the_end(self, practice: Practice) -> list[str]:
        self._prepare(practice)
        with ledger_proxy(self._ledger) as proxy:
            ended = self._forked.run(practice.procedure, practice.environment, proxy, **practice.parameters)
        assert ended["ending"] == practice.ending, ended["message"]
        self._outcome.check_log(practice, ended["ending"])
        return proxy.writes

    def _prepare(self, practice: Practice) -> object:
        self._forked.variables = practice.variables
        return practice.prepare()

    def _kill(self, procedure: str, practice: Practice, moment: Moment, **parameters: str) -> str:
        """What it was about to write, or had just written.

        A fork of a process with threads dies of itself once in a long while: a death as good as any other.
        """
        with ledger_proxy(self._ledger, Strike(moment, kill)) as proxy:
            ended = self._forked.run(procedure, practice.environment, proxy, **parameters)
            assert proxy.struck.is_set() or ended is None, f"{moment} never came: {proxy.writes}"
        return proxy.writes[-1] if proxy.struck.is_set() else f"{proxy.writes[-1]}, of itself"

    def _recover(self, environment: str) -> None:
        """What the supervisor does: recover where something is armed, and the endings of those that died."""
        if self._records.armed(environment):
            ended = self._forked.run("recover", environment)
            assert ended["ending"] == "Done", ended["message"]
        self._end_dead_runs()

    def _recover_elsewhere(self, practice: Practice) -> None:
        """The same, while a run of the forked ones stands still."""
        if self._records.armed(practice.environment):
            runner = self._stack.runner.get({**self._stack.surroundings, **practice.variables})
            ended = runner.run("recover", practice.environment)
            assert ended["ending"] == "Done", ended["message"]
        self._end_dead_runs()

    def _end_dead_runs(self) -> None:
        with closing(connect("drill", self._ledger)) as connection:
            for dead in read_dead_runs(connection):
                end_dead_run(connection, dead)

    def _survived(self, practice: Practice, before: object, run_id: str, moment: Moment, what: str) -> Survived:
        ending = self._outcome.check(practice, before, run_id, f"{moment.side} {what!r}")
        self._outcome.check_log(practice, ending)
        return Survived(moment, what, ending)
