"""Approvers and their one-time codes, in a real ledger: each code counts for one person, at its time, once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
from pyotp import TOTP

from blocks.errors import BadParameter, Refused, WrongCode
from blocks.ledger import approvers
from blocks.ledger.approvers import add, normalised, prove, remove, replace_seed
from blocks.ledger.connection import Connection
from blocks.one_time_code import new_seed
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.blocks.ledger.conftest import Connect
from tests.blocks.platforms.waiting import eventually
from tests.ledger_database import TABLES, LedgerDatabase
from tests.secret_search import find_secrets

NOW = 1_800_000_000.0
GUESSES = 10_000


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    key = new_key()
    monkeypatch.setenv(VARIABLE, key)
    return key


@pytest.fixture
def connection(connect: Connect) -> Connection:
    return connect("run-1")


@pytest.fixture
def ada(connection: Connection) -> TOTP:
    """Enrolled; this is her device."""
    return enrolled(connection, "ada")


def enrolled(connection: Connection, name: str, approved_by: str | None = None) -> TOTP:
    seed = new_seed()
    add(connection, name, seed, approved_by=approved_by)
    return TOTP(seed)


def names(connection: Connection) -> list[str]:
    return [approver.name for approver in approvers.read_approvers(connection)]


def read_last_step(connection: Connection, name: str) -> int:
    row = connection.execute("SELECT last_step FROM approver WHERE name = %s", [name]).fetchone()
    assert row
    return int(str(row["last_step"]))


def test_the_vector_of_the_rfc_proves(connection: Connection) -> None:
    add(connection, "ada", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    prove(connection, "ada", "287 082", 59)
    assert read_last_step(connection, "ada") == 1


def test_a_code_of_now_proves(connection: Connection, ada: TOTP) -> None:
    prove(connection, "ada", ada.now())


@pytest.mark.parametrize(("drift", "proves"), [(-60, False), (-30, True), (30, True), (60, False)])
def test_a_clock_may_be_off_by_one_step(connection: Connection, ada: TOTP, drift: int, proves: bool) -> None:
    code = ada.at(NOW + drift)
    if proves:
        prove(connection, "ada", code, NOW)
    else:
        with pytest.raises(WrongCode):
            prove(connection, "ada", code, NOW)


def test_a_code_counts_once_and_so_does_every_older_one(connection: Connection, ada: TOTP) -> None:
    prove(connection, "ada", ada.at(NOW), NOW)
    for used in (NOW, NOW - 30):
        with pytest.raises(WrongCode, match="wrong, too old or was used before"):
            prove(connection, "ada", ada.at(used), NOW)
    prove(connection, "ada", ada.at(NOW + 30), NOW)


def test_of_two_at_once_one_proves(connect: Connect, ada: TOTP) -> None:
    connections = [connect(f"run-{number}") for number in range(2)]
    for now in (NOW + 90 * number for number in range(20)):
        together = threading.Barrier(2)

        def submit(connection: Connection, now: float = now, together: threading.Barrier = together) -> bool:
            together.wait(10)
            try:
                prove(connection, "ada", ada.at(now), now)
            except WrongCode:
                return False
            return True

        with ThreadPoolExecutor(2) as both:
            assert sorted(both.map(submit, connections)) == [False, True]


def test_a_code_is_not_used_when_its_transaction_is_not_kept(connection: Connection, ada: TOTP) -> None:
    with connection.transaction(force_rollback=True):
        prove(connection, "ada", ada.at(NOW), NOW)
    prove(connection, "ada", ada.at(NOW), NOW)


@pytest.mark.timeout(300)
def test_guessing_finds_nothing_and_locks_nobody_out(connection: Connection, ada: TOTP) -> None:
    right = {ada.at(NOW + drift) for drift in (-30, 0, 30)}
    wrong = (code for code in (f"{number:06}" for number in range(10**6)) if code not in right)
    for code in islice(wrong, GUESSES):
        with pytest.raises(WrongCode):
            prove(connection, "ada", code, NOW)
    prove(connection, "ada", ada.at(NOW), NOW)


@pytest.mark.parametrize(
    "name", ["bob", "Ada", " ada", "", "a\x00", "\ud800", "ada\n", "{{ ada }}", "a" * 10_000], ids=ascii
)
def test_a_name_that_is_not_enrolled_is_refused_with_the_same_words(
    connection: Connection, ada: TOTP, name: str
) -> None:
    refusals = set()
    for claimed, code in ((name, ada.at(NOW)), ("ada", "000000" if ada.at(NOW) != "000000" else "000001")):
        with pytest.raises(WrongCode) as refused:
            prove(connection, claimed, code, NOW)
        refusals.add(str(refused.value))
    assert len(refusals) == 1


def test_the_code_of_somebody_else_proves_nothing(connection: Connection, ada: TOTP) -> None:
    bob = enrolled(connection, "bob", approved_by="ada")
    with pytest.raises(WrongCode):
        prove(connection, "ada", bob.at(NOW), NOW)
    prove(connection, "bob", bob.at(NOW), NOW)


def test_a_seed_that_was_copied_to_another_name_does_not_open(connection: Connection, ada: TOTP) -> None:
    enrolled(connection, "bob", approved_by="ada")
    connection.execute("UPDATE approver SET seed = (SELECT seed FROM approver WHERE name = 'ada') WHERE name = 'bob'")
    with pytest.raises(Refused, match="for bob cannot be opened"):
        prove(connection, "bob", ada.at(NOW), NOW)


def test_another_key_is_told_in_words(connection: Connection, ada: TOTP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, new_key())
    with pytest.raises(Refused, match="is not the key that it was made with") as refused:
        prove(connection, "ada", ada.at(NOW), NOW)
    assert not isinstance(refused.value, WrongCode)
    assert ada.secret not in str(refused.value)


def test_the_old_device_of_somebody_who_was_reset_proves_nothing(connection: Connection, ada: TOTP) -> None:
    enrolled(connection, "bob", approved_by="ada")
    seed = new_seed()
    replace_seed(connection, "ada", seed, approved_by="bob")
    with pytest.raises(WrongCode):
        prove(connection, "ada", ada.at(NOW), NOW)
    prove(connection, "ada", TOTP(seed).at(NOW), NOW)


def test_a_code_of_the_old_device_that_comes_while_somebody_is_reset_proves_nothing(
    connect: Connect, connection: Connection, ada: TOTP, ledger: LedgerDatabase
) -> None:
    enrolled(connection, "bob", approved_by="ada")
    with ThreadPoolExecutor(1) as other:
        with connection.transaction():
            replace_seed(connection, "ada", new_seed(), approved_by="bob")
            proving = other.submit(prove, connect("run-2"), "ada", ada.at(NOW), NOW)
            eventually(lambda: ledger.as_superuser("SELECT pid FROM pg_locks WHERE NOT granted") != [])
        with pytest.raises(WrongCode):
            proving.result(10)


def test_steps_that_were_used_stay_used_when_somebody_is_reset(connection: Connection, ada: TOTP) -> None:
    enrolled(connection, "bob", approved_by="ada")
    prove(connection, "ada", ada.at(NOW), NOW)
    replace_seed(connection, "ada", new_seed(), step=1, approved_by="bob")
    assert read_last_step(connection, "ada") == NOW // 30


def test_the_code_that_confirmed_a_device_counts_no_more(connection: Connection) -> None:
    ada, bob = TOTP(new_seed()), TOTP(new_seed())
    step = int(NOW // 30)
    add(connection, "ada", ada.secret, step=step)
    add(connection, "bob", new_seed(), approved_by="ada")
    replace_seed(connection, "bob", bob.secret, step=step, approved_by="ada")
    for name, device in (("ada", ada), ("bob", bob)):
        with pytest.raises(WrongCode):
            prove(connection, name, device.at(NOW), NOW)
        prove(connection, name, device.at(NOW + 30), NOW)


def test_who_was_removed_proves_nothing(connection: Connection, ada: TOTP) -> None:
    remove(connection, "ada", approved_by="ada")
    assert not approvers.is_enrolled(connection, "ada")
    with pytest.raises(WrongCode):
        prove(connection, "ada", ada.at(NOW), NOW)


def test_the_first_needs_nobody_and_everybody_else_one_who_is_enrolled(connection: Connection) -> None:
    with pytest.raises(Refused, match="Nobody is enrolled who could"):
        enrolled(connection, "ada", approved_by="ada")
    enrolled(connection, "ada")
    for approved_by in (None, "bob", "carl"):
        with pytest.raises(Refused, match="Name one of ada with --approved-by"):
            enrolled(connection, "bob", approved_by=approved_by)
    with pytest.raises(Refused, match="ada is enrolled already"):
        enrolled(connection, "ada", approved_by="ada")
    enrolled(connection, "bob", approved_by="ada")
    assert names(connection) == ["ada", "bob"]


def test_nobody_approves_his_own_reset_or_removal_but_the_only_one(connection: Connection) -> None:
    enrolled(connection, "ada")
    with pytest.raises(Refused, match="ada is the only approver"):
        replace_seed(connection, "ada", new_seed(), approved_by="ada")
    enrolled(connection, "bob", approved_by="ada")
    with pytest.raises(Refused, match="ada cannot approve this"):
        replace_seed(connection, "ada", new_seed(), approved_by="ada")
    with pytest.raises(Refused, match="ada cannot approve this"):
        remove(connection, "ada", approved_by="ada")
    remove(connection, "ada", approved_by="bob")
    remove(connection, "bob", approved_by="bob")
    assert names(connection) == []


def test_who_is_not_enrolled_cannot_be_changed(connection: Connection, ada: TOTP) -> None:
    with pytest.raises(Refused, match="bob is not enrolled"):
        remove(connection, "bob", approved_by="ada")
    with pytest.raises(Refused, match="bob is not enrolled"):
        replace_seed(connection, "bob", new_seed(), approved_by="ada")


def test_of_two_who_come_first_one_is(connect: Connect) -> None:
    connections = [connect(f"run-{number}") for number in range(2)]
    together = threading.Barrier(2)

    def come(connection: Connection, name: str) -> bool:
        together.wait(10)
        try:
            enrolled(connection, name)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(2) as both:
        assert sorted(both.map(come, connections, ["ada", "bob"])) == [False, True]


def test_of_two_who_remove_each_other_one_stays(connect: Connect, ada: TOTP) -> None:
    connections = [connect(f"run-{number}") for number in range(2)]
    enrolled(connections[0], "bob", approved_by="ada")
    together = threading.Barrier(2)

    def leave(connection: Connection, name: str, approved_by: str) -> bool:
        together.wait(10)
        try:
            remove(connection, name, approved_by=approved_by)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(2) as both:
        assert sorted(both.map(leave, connections, ["ada", "bob"], ["bob", "ada"])) == [False, True]
    assert len(names(connections[0])) == 1


def test_every_change_stands_in_the_trail_with_who_approved_it(connection: Connection) -> None:
    enrolled(connection, "ada")
    add(connection, "bob", new_seed(), approved_by="ada", asked_by="carl")
    replace_seed(connection, "ada", new_seed(), approved_by="bob", asked_by="carl")
    remove(connection, "bob", approved_by="ada", asked_by="carl")
    rows = connection.execute("SELECT * FROM audit ORDER BY sequence").fetchall()
    assert [(row["event"], row["actor"], row["run_id"], row["environment"]) for row in rows] == [
        ("approver enrolled", "first", "", ""),
        ("approver enrolled", "ada", "", ""),
        ("approver reset", "bob", "", ""),
        ("approver removed", "ada", "", ""),
    ]
    assert rows[0]["detail"] == {"name": "ada", "asked_by": "", "approved_by": None}
    assert rows[1]["detail"] == {"name": "bob", "asked_by": "carl", "approved_by": "ada"}


def test_what_is_not_recorded_does_not_happen(connection: Connection, ledger: LedgerDatabase) -> None:
    connection.execute("ALTER TABLE audit ADD CONSTRAINT broken CHECK (event <> 'approver enrolled')")
    try:
        with pytest.raises(Exception, match="broken"):
            enrolled(connection, "ada")
        assert names(connection) == []
    finally:
        connection.execute("ALTER TABLE audit DROP CONSTRAINT broken")


def test_no_seed_stands_in_clear_anywhere_in_the_ledger(
    connection: Connection, ada: TOTP, ledger: LedgerDatabase, key: str
) -> None:
    bob = enrolled(connection, "bob", approved_by="ada")
    prove(connection, "ada", ada.at(NOW), NOW)
    with pytest.raises(WrongCode):
        prove(connection, "bob", ada.at(NOW), NOW)
    secrets = {"seed of ada": ada.secret, "seed of bob": bob.secret, "key": key}
    secrets |= {f"{name}, decoded": TOTP(seed).byte_secret().hex() for name, seed in list(secrets.items())[:2]}
    for (table,) in ledger.as_superuser(TABLES):
        rows = repr(ledger.as_superuser(f"SELECT content::text FROM {table} content"))  # noqa: S608
        assert find_secrets(secrets, str(table), rows.encode()) == []
    assert "gAAAA" in repr(ledger.as_superuser("SELECT seed FROM approver"))


@pytest.mark.parametrize(("given", "name"), [("Ada", "ada"), (" ada.l-o_2 ", "ada.l-o_2"), ("a" * 63, "a" * 63)])
def test_a_name_is_written_in_one_way(given: str, name: str) -> None:
    assert normalised(given) == name


@pytest.mark.parametrize(
    "given", ["", " ", "2ada", "a" * 64, "ada lovelace", "ädä", "a\nb", "a\x00", "a/b", "{{a}}"], ids=ascii
)
def test_what_is_no_name_is_told(given: str) -> None:
    with pytest.raises(BadParameter, match=r"Parameter 'name' was .*; allowed: a letter, then up to 62"):
        normalised(given)
