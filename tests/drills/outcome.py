"""What must be so after a procedure was struck, whatever was struck and when."""

from collections.abc import Callable, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import NamedTuple, Protocol

from blocks.ledger.connection import connect
from tests.blocks.stores.faults import FaultProxy
from tests.drills.moments import Moment, Place
from tests.flows.records import Records

_ENDINGS = (
    "SELECT count(*) AS endings FROM audit WHERE (event = 'run ended' AND run_id = %(run)s)"
    " OR (event = 'dead runs ended' AND detail->'runs' ? %(run)s)"
)


class Log(Protocol):
    """What the thing acted upon says about what was done to it."""

    def check(self, is_done: bool) -> None:
        """Fail unless each change was kept, or undone, exactly once and in order."""


class Practice(NamedTuple):
    """A procedure, and how its environment looks before and after it."""

    name: str
    procedure: str
    environment: str
    parameters: Mapping[str, object]
    prepare: Callable[[], object]
    """Brings the environment to where the procedure begins; gives back how it looks."""
    look: Callable[[], object]
    is_done: Callable[[], bool]
    """Whether the environment is as the procedure leaves it when it is done."""
    ending: str = "Done"
    """Of a run that nobody kills."""
    log: Log | None = None
    variables: Mapping[str, str] = MappingProxyType({})
    """Those that every process needs whose doing is watched."""
    proxies: Mapping[Place, FaultProxy] = MappingProxyType({})
    """Those that it reaches other things through, with these variables."""
    is_whole_half_way: Callable[[], bool] | None = None
    """Of one that has no undo and goes on when it is started again: whether what there is half-way is whole."""


class Survived(NamedTuple):
    moment: Moment
    what: str
    """What was crossing then, in words."""
    ending: str
    """Empty where the run had not begun yet."""


class Outcome:
    def __init__(self, records: Records, ledger: str) -> None:
        self._records, self._ledger = records, ledger

    def check(self, practice: Practice, before: object, run_id: str, where: str) -> str:
        """The ending. It came to one of them, in the state that goes with it, and nothing is armed or held."""
        run = self._records.run(run_id)
        ending = str(run["ending"])
        where = f"{where}: {ending}: {run['message']}"
        assert ending in ("Done", "Refused", "Rolled back", "Needs a human"), where
        is_done = ending == "Done" or (ending == "Needs a human" and practice.is_done())
        if is_done:
            assert practice.is_done(), f"not done; {where}"
        elif ending == "Needs a human" and practice.is_whole_half_way:
            assert practice.is_whole_half_way(), f"not whole; {where}"
        else:
            assert practice.look() == before, f"not as before; {where}"
        assert ending != "Needs a human" or not self._records.undos(run_id), where
        assert self._endings(run_id) == 1, f"{self._endings(run_id)} endings in the trail; {where}"
        self._records.assert_settled(practice.environment)
        return ending

    def check_log(self, practice: Practice, ending: str) -> None:
        """Every change was kept, or undone, exactly once and in order."""
        if practice.log is not None:
            practice.log.check(is_done=ending == "Done" or (ending == "Needs a human" and practice.is_done()))

    def _endings(self, run_id: str) -> object:
        with closing(connect("drill", self._ledger)) as connection:
            row = connection.execute(_ENDINGS, {"run": run_id}).fetchone()
        return row["endings"] if row else 0
