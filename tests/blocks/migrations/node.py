"""Projects whose tool is a program of Node.js: TypeORM from its registry, for real."""

import json
from pathlib import Path

from blocks.migrations.commands import MigrationCommands
from blocks.migrations.typeorm import TypeOrmMigrations
from tests.blocks.migrations.project import Project, Step
from tests.deployments.shop.processes import Postgres

SOURCE = Path(__file__).with_name("typeorm_project")
DATA_SOURCE = """
const { DataSource } = require("typeorm")
module.exports.default = new DataSource({
    type: "postgres", url: process.env.DATABASE_URL, migrations: [__dirname + "/migrations/*.js"],
})
"""


class TypeOrmProject(Project):
    shows_sql = False

    def __init__(self, folder: Path, server: Postgres, node_modules: Path) -> None:
        super().__init__(folder, server)
        self.tool = TypeOrmMigrations(data_source="data-source.js")
        for name in ("package.json", "package-lock.json"):
            (folder / name).write_bytes((SOURCE / name).read_bytes())
        (folder / "node_modules").symlink_to(node_modules)
        (folder / "data-source.js").write_text(DATA_SOURCE)
        self.migrations = folder / "migrations"
        self.migrations.mkdir()

    def write(self, step: Step, number: int) -> str:
        name = f"{step.name.title().replace('_', '')}{1_700_000_000_000 + number}"
        transaction = "" if step.in_transaction else "transaction = false\n"
        lines = [f"name = {json.dumps(name)}", transaction]
        for way, statements in (("up", step.up), ("down", step.down)):
            queries = [f"await runner.query({json.dumps(one)})" for one in statements]
            lines.append(f"async {way}(runner) {{\n" + "\n".join(queries) + "\n}")
        source = f"module.exports.{name} = class {{\n" + "\n".join(lines) + "\n}\n"
        (self.migrations / f"{number:03}-{step.name}.js").write_text(source)
        return name


class NpmProject(TypeOrmProject):
    marks_newest = False

    def __init__(self, folder: Path, server: Postgres, node_modules: Path) -> None:
        super().__init__(folder, server, node_modules)
        self.tool = MigrationCommands()
        package = json.loads((folder / "package.json").read_text())
        package["scripts"] = {
            "migration:show": "typeorm migration:show -d data-source.js",
            "migration:run": "typeorm migration:run -d data-source.js -t each",
            "migration:revert": "typeorm migration:revert -d data-source.js -t none",
        }
        (folder / "package.json").write_text(json.dumps(package))
