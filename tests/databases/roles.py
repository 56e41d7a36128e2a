"""The roles that docs/database-roles.md tells people to make, made by the very statements of that page."""

import re
from pathlib import Path

from psycopg import errors

from tests.deployments.shop.processes import Postgres

PAGE = Path(__file__).parent.parent.parent / "docs" / "database-roles.md"
PASSWORD = "a-long-random-one"


def make_role(server: Postgres, database: str, heading: str) -> str:
    """Run what stands under the heading; returns the role's URL."""
    section = re.split(r"^## ", PAGE.read_text().partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    statements = "\n".join(re.findall(r"^```sql\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    assert statements, heading
    role = re.findall(r"CREATE ROLE (\w+)", statements)[0]
    for statement in statements.replace("DATABASE app ", f"DATABASE {database} ").split(";\n"):
        try:
            if statement.strip():
                server.execute(statement, database)
        except errors.DuplicateObject:
            pass  # a role belongs to the whole server, and the tests make one for each database
    return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{server.port}/{database}"
