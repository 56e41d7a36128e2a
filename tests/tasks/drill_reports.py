"""Reports of drills that nobody held."""

from datetime import UTC, datetime
from typing import Any

from tasks.drill_report import DrillReport

FOUND = "RTO: 9.5 s; 5.0 s are allowed."


def a_report(**differences: Any) -> DrillReport:
    """Of a recovery test that took 9.5 s and broke its objective."""
    names = ("provision", "restore", "verify data", "boot", "verify service", "clean up")
    seconds = (1.5, 3.0, 2.0, 2.0, 1.0, 0.5)
    phases = [
        {"name": name, "began": sum(seconds[:number]), "seconds": seconds[number], "counts": name != "clean up"}
        for number, name in enumerate(names)
    ]
    state = {"of": "what was backed up", "tables": 5, "rows": 1234, "content_sha256": "ab" * 32}
    content = {
        "run_id": "6d3b2a1c-0000-4000-8000-000000000000",
        "environment": "shop-production",
        "scenario": "recovery-test",
        "requested_by": "Ada",
        "began_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "disaster_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "seconds": 10,
        "backup": "20261121T020000Z-1a2b3c4d",
        "release": "v1.2.0",
        "isolation": "a network namespace of its own",
        "phases": phases,
        "rto": {"allowed_seconds": 5, "measured_seconds": 9.5},
        "rpo": {"allowed_seconds": 900, "measured_seconds": 40, "how": "by the newest write in the restored copy"},
        "before": state,
        "after": {**state, "of": "the restored copy", "passed": ["app", "smoke"]},
        "verdict": "broken",
        "findings": [{"what": FOUND}],
        "trail_before": "0" * 64,
    }
    return DrillReport.model_validate(content | differences)
