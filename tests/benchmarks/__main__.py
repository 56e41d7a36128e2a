"""python -m tests.benchmarks [NAME…]: measure what the documentation claims. Without a name: everything."""

import argparse
from importlib import import_module

BENCHMARKS = {
    "false_rollbacks": "how often a good release is rolled back, and how fast a bad one is found (4 minutes)",
    "orchestration": "what a deploy by a flow costs beside one by a script (3 minutes)",
    "backups": "backup, proof and restore of a gigabyte beside the runbooks' commands (15 minutes)",
    "migration": "a migration with rehearsal and backup beside the bare command, and what visitors notice (3 minutes)",
    "drills": "a recovery drill of a gigabyte beside the runbook's commands, phase by phase (6 minutes)",
    "recovery": "how long a run that was killed stays unrecovered (4 minutes)",
    "rotation": "what 50 visitors a second notice of each kind of secret that is rotated (2 minutes)",
    "rollback": "how long a bad release keeps its traffic, on a real stack (8 minutes)",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure what the documentation claims.",
        epilog="\n".join(f"{name}: {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names
    unknown = sorted(set(names) - BENCHMARKS.keys())
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
