"""Enrolling approvers with the real command: a device counts once a code of it came, and an approver has agreed."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
import segno
from pyotp import TOTP

from blocks.errors import WrongCode
from blocks.ledger.approvers import prove
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.deployments.cli.enrolment import COMMAND, SEED_LINE, Ended, Enrolment, wrong_code
from tests.ledger_database import LedgerDatabase
from tests.secret_search import find_secrets


@pytest.fixture
def enrolment(ledger: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> Enrolment:
    enrolment = Enrolment(ledger, new_key())
    monkeypatch.setenv(VARIABLE, enrolment.key)
    return enrolment


def proves(enrolment: Enrolment, name: str, code: str) -> bool:
    with enrolment.ledger.connect("test") as connection:
        try:
            prove(connection, name, code)
        except WrongCode:
            return False
    return True


def enrol(enrolment: Enrolment, *words: str, approval: tuple[str, ...] = ()) -> tuple[Ended, TOTP, str]:
    """How the command ended, the device that it made, and the code that confirmed it."""
    with enrolment.begin(*words) as dialogue:
        dialogue.answer(*approval)
        device, shown = dialogue.read_device()
        code = device.now()
        dialogue.answer(code)
        ended = dialogue.end()
    return Ended(ended.code, shown + ended.output, ended.errors), device, code


def test_the_first_is_enrolled_without_an_approval(enrolment: Enrolment) -> None:
    ended, device, code = enrol(enrolment, "add", "Ada")
    assert ended.code == 0, ended.errors
    assert "Nobody is enrolled yet, so nobody has to approve this: ada will be the first." in ended.output
    assert "ada is enrolled." in ended.output
    assert "What follows is a secret" in ended.errors
    assert enrolment.names() == ["ada"]
    assert enrolment.events() == [("approver enrolled", "first", "ada")]
    assert not proves(enrolment, "ada", code), "the code that confirmed it counts a second time"
    assert proves(enrolment, "ada", device.at(time.time() + 30))


def test_the_qr_code_is_what_the_app_needs(enrolment: Enrolment) -> None:
    ended, device, _ = enrol(enrolment, "add", "ada")
    address = f"otpauth://totp/Backstop:ada?secret={device.secret}&issuer=Backstop"
    drawn = StringIO()
    segno.make_qr(address).terminal(drawn, compact=True)
    assert drawn.getvalue() in ended.output


def test_a_terminal_without_block_characters_gets_a_qr_code_too(enrolment: Enrolment) -> None:
    ended = enrolment.run("add", "ada", codes=["0"] * 3, PYTHONIOENCODING="latin-1")
    assert ended.code == 1
    assert "\x1b[7m    " in ended.output
    assert SEED_LINE in ended.output


def test_everybody_else_is_approved_by_somebody_who_is_enrolled(enrolment: Enrolment) -> None:
    ada = enrolment.enrolled("ada")
    for words in (("add", "bob"), ("add", "bob", "--approved-by", "carl"), ("add", "bob", "--approved-by", "bob")):
        refused = enrolment.run(*words, codes=[ada.now()])
        assert refused.code == 1
        assert "Name one of ada with --approved-by. Nothing was changed." in refused.errors
        assert refused.output == ""
    ended, _, _ = enrol(enrolment, "add", "bob", "--approved-by", "Ada", approval=(ada.now(),))
    assert ended.code == 0, ended.errors
    assert enrolment.names() == ["ada", "bob"]
    assert enrolment.events()[1:] == [("approver enrolled", "ada", "bob")]


def test_the_code_that_approved_it_approves_nothing_else(enrolment: Enrolment) -> None:
    code = enrolment.enrolled("ada").now()
    enrol(enrolment, "add", "bob", "--approved-by", "ada", approval=(code,))
    ended = enrolment.run("add", "carl", "--approved-by", "ada", codes=[code])
    assert ended.code == 1
    assert "it is wrong, too old or was used before" in ended.errors
    assert enrolment.names() == ["ada", "bob"]


def test_nothing_is_shown_before_the_approval_and_three_wrong_codes_are_the_end(enrolment: Enrolment) -> None:
    ada = enrolment.enrolled("ada")
    ended = enrolment.run("add", "bob", "--approved-by", "ada", codes=[wrong_code(ada), "{{ 7 }}", "", ada.now()])
    assert ended.code == 1
    assert "None of 3 codes was right." in ended.errors
    assert ended.errors.rstrip().endswith("Nothing was changed.")
    assert ended.output == ""
    assert [(event, name) for event, _, name in enrolment.events()[1:]] == [("code refused", "ada")] * 3


def test_a_device_that_is_not_confirmed_is_not_stored(enrolment: Enrolment) -> None:
    with enrolment.begin("add", "ada") as dialogue:
        device, _ = dialogue.read_device()
        dialogue.answer(*[wrong_code(device)] * 3, device.now())
        ended = dialogue.end()
    assert ended.code == 1
    assert "Nothing was changed." in ended.errors
    assert enrolment.names() == []
    assert [(event, name) for event, _, name in enrolment.events()] == [("code refused", "ada")] * 3


def test_a_wrong_code_may_be_followed_by_the_right_one(enrolment: Enrolment) -> None:
    with enrolment.begin("add", "ada") as dialogue:
        device, _ = dialogue.read_device()
        dialogue.answer(wrong_code(device), device.now())
        assert dialogue.end().code == 0
    assert enrolment.names() == ["ada"]


def test_input_that_ends_changes_nothing(enrolment: Enrolment) -> None:
    ended = enrolment.run("add", "ada")
    assert ended.code == 1
    assert "Nobody gave the one-time code of ada. Nothing was changed." in " ".join(ended.errors.split())
    assert enrolment.names() == []


def test_who_loses_a_device_is_reset_by_somebody_else(enrolment: Enrolment) -> None:
    ada, bob = enrolment.enrolled("ada"), enrolment.enrolled("bob", approved_by="ada")
    refused = enrolment.run("reset", "ada", "--approved-by", "ada", codes=[ada.now()])
    assert (refused.code, refused.output) == (1, "")
    assert "ada cannot approve this." in refused.errors
    ended, device, _ = enrol(enrolment, "reset", "ada", "--approved-by", "bob", approval=(bob.now(),))
    assert ended.code == 0, ended.errors
    assert not proves(enrolment, "ada", ada.now())
    assert proves(enrolment, "ada", device.at(time.time() + 30))
    assert enrolment.events()[-1] == ("approver reset", "bob", "ada")


def test_the_device_before_counts_until_the_new_one_is_confirmed(enrolment: Enrolment) -> None:
    ada, bob = enrolment.enrolled("ada"), enrolment.enrolled("bob", approved_by="ada")
    ended = enrolment.run("reset", "ada", "--approved-by", "bob", codes=[bob.now(), "1", "2", "3"])
    assert ended.code == 1
    assert SEED_LINE in ended.output
    assert proves(enrolment, "ada", ada.now())


def test_removing(enrolment: Enrolment) -> None:
    ada, bob = enrolment.enrolled("ada"), enrolment.enrolled("bob", approved_by="ada")
    refused = enrolment.run("remove", "ada", "--approved-by", "ada", codes=[ada.now()])
    assert refused.code == 1
    assert "ada cannot approve this.\nName one of bob with --approved-by." in refused.errors
    assert enrolment.run("remove", "ada", "--approved-by", "bob", codes=[wrong_code(bob)]).code == 1
    assert enrolment.names() == ["ada", "bob"]
    removed = enrolment.run("remove", "ada", "--approved-by", "bob", codes=[bob.now()])
    assert (removed.code, removed.output) == (0, "ada approves no more.\n")
    assert enrolment.names() == ["bob"]


def test_the_only_one_may_go_by_an_own_code(enrolment: Enrolment) -> None:
    ada = enrolment.enrolled("ada")
    refused = enrolment.run("reset", "ada", "--approved-by", "ada", codes=[ada.now()])
    assert refused.code == 1
    assert "`backstop approvers remove ada --approved-by ada`" in refused.errors
    assert enrolment.run("remove", "ada", "--approved-by", "ada", codes=[ada.now()]).code == 0
    assert enrolment.names() == []


def test_the_list(enrolment: Enrolment) -> None:
    assert enrolment.run("list").output == "Nobody is enrolled. `backstop approvers add NAME` enrols the first one.\n"
    assert json.loads(enrolment.run("list", "--json").output) == []
    enrolment.enrolled("bob")
    enrolment.enrolled("ada", approved_by="bob")
    lines = enrolment.run("list", BACKSTOP_APPROVALS_KEY="").output.splitlines()
    assert [line.split()[:2] for line in lines] == [["ada", "since"], ["bob", "since"]]
    shown = json.loads(enrolment.run("list", "--json").output)
    assert [one.keys() for one in shown] == [{"name", "enrolled_at"}] * 2


@pytest.mark.parametrize("name", ["", "ada lovelace", "../ada", "{{ ada }}", "a" * 5000, "ädä"], ids=ascii)
def test_a_bad_name_is_refused(enrolment: Enrolment, name: str) -> None:
    for parameter, words in {
        "name": ("add", name),
        "--approved-by": ("add", "bob", f"--approved-by={name or '-'}"),
    }.items():
        ended = enrolment.run(*words)
        assert ended.code == 1
        assert f"Parameter '{parameter}' was " in ended.errors
        assert "Nothing was changed." in ended.errors
        assert len(ended.errors) < 400


def test_without_its_key_nothing_is_shown(enrolment: Enrolment) -> None:
    for key in ("", "nonsense"):
        ended = enrolment.run("add", "ada", BACKSTOP_APPROVALS_KEY=key)
        assert ended.code == 1
        assert "BACKSTOP_APPROVALS_KEY" in ended.errors
        assert SEED_LINE not in ended.output


def test_another_key_than_the_one_of_the_enrolment_is_told(enrolment: Enrolment) -> None:
    ada = enrolment.enrolled("ada")
    ended = enrolment.run("add", "bob", "--approved-by", "ada", codes=[ada.now()], BACKSTOP_APPROVALS_KEY=new_key())
    assert ended.code == 1
    assert "BACKSTOP_APPROVALS_KEY is not the key that it was made with" in ended.errors


def test_a_ledger_that_is_away_is_told(enrolment: Enrolment) -> None:
    ended = enrolment.run("list", BACKSTOP_LEDGER_URL="postgresql://127.0.0.1:1/none")
    assert ended.code == 1
    assert "The ledger does not answer" in ended.errors


def test_neither_seed_nor_code_is_written_down(enrolment: Enrolment) -> None:
    _, device, code = enrol(enrolment, "add", "ada")
    with enrolment.begin("add", "bob", "--approved-by", "ada") as dialogue:
        dialogue.answer("246813", device.at(time.time() + 30))
        bob, _ = dialogue.read_device()
        dialogue.answer("135792", "1", "2")
        ended = dialogue.end()
    secrets = {"ada": device.secret, "bob": bob.secret, "key": enrolment.key}
    trail = repr(enrolment.ledger.as_superuser("SELECT content::text FROM audit content"))
    assert find_secrets(secrets, "trail", trail.encode()) == []
    assert find_secrets(secrets, "errors", ended.errors.encode()) == []
    details = repr(enrolment.ledger.as_superuser("SELECT actor, detail::text FROM audit"))
    assert not any(given in details for given in (code, "246813", "135792"))


def test_a_code_that_is_typed_is_not_seen(enrolment: Enrolment) -> None:
    ada = enrolment.enrolled("ada")
    enrolment.enrolled("bob", approved_by="ada")
    with terminal(enrolment, "remove", "bob", "--approved-by", "ada") as (process, screen):
        shown = read_until(screen, "One-time code of ada: ")
        os.write(screen, f"{ada.now()}\n".encode())
        shown += read_until(screen, "bob approves no more.")
        assert process.wait(30) == 0
    assert ada.now() not in shown


def test_at_a_terminal_the_end_of_the_input_changes_nothing(enrolment: Enrolment) -> None:
    with terminal(enrolment, "add", "ada") as (process, screen):
        shown = read_until(screen, "One-time code of ada: ")
        assert "What follows is a secret" not in shown
        os.write(screen, b"\x04")
        read_until(screen, "Nobody gave the one-time code of ada.")
        assert process.wait(30) == 1
    assert enrolment.names() == []


@contextmanager
def terminal(enrolment: Enrolment, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command in a terminal of its own, which it has lost when this ends."""
    screen, line = pty.openpty()
    log_in = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
    process = subprocess.Popen(
        [sys.executable, "-c", log_in, str(line), *COMMAND, *words], env=enrolment.surroundings, pass_fds=[line]
    )
    os.close(line)
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait(30)
        os.close(screen)


def read_until(screen: int, wanted: str) -> str:
    shown = b""
    while wanted not in shown.decode(errors="ignore"):
        shown += os.read(screen, 4096)
    return shown.decode(errors="ignore")
