"""The frame of the command line: light to start, stable exit codes, no tracebacks."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from deployments.cli import COMMANDS, main
from deployments.cli.exit_codes import ExitCode

HEAVY = ("prefect", "psycopg", "httpx", "pydantic", "rich", "boto3")


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    script = "import sys; from deployments.cli import main; code = main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    overview, _, modules = done.stdout.rpartition("\n[")
    assert [name for name in COMMANDS if f"\n    {name} " not in overview] == []
    assert [name for name in HEAVY if f"'{name}'" in modules] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == ExitCode.DONE
    shown = " ".join(capsys.readouterr().out.split())
    assert import_module(f"deployments.cli.{name}").HELP in shown


def test_status_does_not_load_prefect(tmp_path: Path) -> None:
    script = "import sys; from deployments.cli import main; main(['status']); sys.exit('prefect' in sys.modules)"
    environment = {**os.environ, "BACKSTOP_STATE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, timeout=30, check=True)


def test_started_with_interrupts_ignored_it_can_be_interrupted() -> None:
    """As a script's background jobs are; what they start inherits it."""
    script = "from signal import *; from deployments.cli import main; main(['--help']); raise_signal(SIGINT)"
    ignoring = "import os, sys; from signal import *; signal(SIGINT, SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", ignoring, sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize("words", [["nonsense"], ["down", "--nonsense"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == ExitCode.USAGE
    assert "nonsense" in capsys.readouterr().err


def test_refusal_is_message_and_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").touch()
    monkeypatch.setenv("BACKSTOP_STATE", str(tmp_path))
    assert main(["up"]) == ExitCode.REFUSED
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("backstop: ")
    assert shown[1] == "Name another folder in BACKSTOP_STATE. Nothing was changed."


def test_exit_codes_are_the_documented_ones() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "REFUSED": 1,
        "USAGE": 2,
        "ROLLED_BACK": 3,
        "NEEDS_A_HUMAN": 4,
        "NOT_APPROVED": 5,
        "TIMEOUT": 6,
        "INTERRUPTED": 130,
    }
