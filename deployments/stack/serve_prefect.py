"""python -m deployments.stack.serve_prefect --port PORT …: Prefect's server, on a PostgreSQL without pg_trgm.

Prefect's migrations make indexes for the search by part of a name with that extension. The
PostgreSQL that is installed with Backstop lacks it; without the indexes the search is a scan,
which the small tables of one machine do not notice.
"""

import argparse
from pathlib import Path
from typing import Any

import uvicorn
from prefect.server.api.server import create_app
from sqlalchemy import Engine, event

from deployments.stack.refused_answers import NotesRefusals
from deployments.time_zones import remember_time_zones


def leave_out_trigrams(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    if "trgm" in statement:
        return "SELECT 1", ()
    return statement, parameters


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deployments.stack.serve_prefect")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--refused-answers", type=Path, required=True, help="folder in which they are counted")
    arguments = parser.parse_args()
    remember_time_zones()
    event.listen(Engine, "before_cursor_execute", leave_out_trigrams, retval=True)
    server = NotesRefusals(create_app(final=True), arguments.refused_answers)
    uvicorn.run(server, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
