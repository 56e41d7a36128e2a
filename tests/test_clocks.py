"""A clock that is set, by NTP or by hand, holds nothing up and cuts nothing short: waits go by one that nobody sets.

Where the time of day is read all the same, it stands here with the reason.
"""

import ast
from pathlib import Path

from deployments.apply import ROOT

TIME_OF_DAY = {
    "blocks/one_time_code.py": "codes are of a half-minute of the day",
    "blocks/postgres/scratch.py": "compared with a file's time of day",
    "tasks/ledger.py": "when a run began, for its report",
    "tasks/report.py": "how long it took, for its report",
    "tasks/smoke.py": "part of a webhook's signature",
    "deployments/demo/performance.py": "compared with the times in the visitors' log",
    "deployments/shop/visitors.py": "for the visitors' log",
}


def reads_time_of_day(path: Path) -> bool:
    read = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))
    return any(ast.unparse(one) == "time.time" for one in read)


def test_only_what_has_to_reads_the_time_of_day() -> None:
    files = [path for package in ("blocks", "tasks", "flows", "deployments") for path in (ROOT / package).rglob("*.py")]
    service = ROOT / "deployments" / "shop" / "service"
    found = {str(path.relative_to(ROOT)) for path in files if service not in path.parents and reads_time_of_day(path)}
    assert found == TIME_OF_DAY.keys()
