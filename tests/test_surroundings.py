"""Every program that Backstop starts is given its variables by name: never the worker's, which hold every secret."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for package in ("blocks", "tasks", "flows", "deployments") for path in (ROOT / package).rglob("*.py")
)
STARTERS = ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call")


def starts(source: str) -> list[tuple[int, bool]]:
    """(line, whether variables are given) of each call that starts a program."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        (call.lineno, any(keyword.arg == "env" for keyword in call.keywords))
        for call in calls
        if ast.unparse(call.func) in STARTERS
    ]


@pytest.mark.parametrize("path", [p for p in SOURCES if starts(p.read_text())], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_program_is_started_with_variables_of_its_own(path: Path) -> None:
    assert [line for line, given in starts(path.read_text()) if not given] == []


def test_the_search_sees_a_program_that_inherits_everything() -> None:
    assert starts("import subprocess\nsubprocess.run(['git'], timeout=1)\n") == [(2, False)]
