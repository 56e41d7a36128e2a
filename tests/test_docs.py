"""Documentation cannot lie: what it names exists, and what exists is named."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.blocks.core import Block
from pydantic import BaseModel

from blocks.approvals import Rule
from blocks.backups import Assertion
from blocks.cloud_sql import CloudSql
from blocks.database import Instance
from blocks.drills import Objective
from blocks.freeze import Freeze
from blocks.pager import PagerDuty
from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.compose import ComposeService
from blocks.secrets.encryption_key import EncryptionKey
from blocks.secrets.generated import Generated
from blocks.secrets.held import Report
from blocks.secrets.postgres_role import PostgresRole
from blocks.secrets.provided import Provided
from blocks.secrets.redis_acl import RedisAcl
from blocks.secrets.signing_key import SigningKey
from blocks.service import Signature, SmokeStep
from blocks.sinks.directory import Directory
from blocks.sinks.env_file import EnvFile
from blocks.sinks.github_actions import GithubActions
from blocks.sinks.google_secret_manager import GoogleSecretManager
from blocks.sinks.platform_sealed import PlatformSealed
from blocks.sinks.platform_variables import PlatformVariables
from blocks.sinks.vault_kv import VaultKv
from blocks.status_page import Statuspage
from deployments.cli import COMMANDS
from deployments.environment_file import PARTS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
INNER = {
    "A compose service": ComposeService,
    "A Caddy route": CaddyRoute,
    "A smoke step": SmokeStep,
    "A signature": Signature,
    "A freeze": Freeze,
    "A rule": Rule,
    "An assertion": Assertion,
    "An instance": Instance,
    "A Cloud SQL instance": CloudSql,
    "A drill's objective": Objective,
    "A secret: postgres-role": PostgresRole,
    "A secret: redis-acl": RedisAcl,
    "A secret: signing-key": SigningKey,
    "A secret: encryption-key": EncryptionKey,
    "A secret: generated": Generated,
    "A secret: provided": Provided,
    "A report": Report,
    "A pager": PagerDuty,
    "A status page": Statuspage,
    "A sink: platform": PlatformVariables,
    "A sink: platform-sealed": PlatformSealed,
    "A sink: directory": Directory,
    "A sink: env-file": EnvFile,
    "A sink: vault-kv": VaultKv,
    "A sink: github-actions": GithubActions,
    "A sink: google-secret-manager": GoogleSecretManager,
}
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deployments").rglob("*.md")])
PART_HEADINGS = {
    f"{part}: {kind}" if len(kinds) > 1 else part: block
    for part, kinds in PARTS.items()
    if part != "region_copy"  # a store like the other one
    for kind, block in kinds.items()
}


def _deployments() -> dict[str, dict[str, Any]]:
    """Procedure → its deployment in prefect.yaml."""
    described = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return {_flow(one["entrypoint"]).name: one for one in described}


def _flow(entrypoint: str) -> Flow[..., Any]:
    module, name = entrypoint.rsplit(".", 1)
    found: Flow[..., Any] = getattr(import_module(module), name)
    return found


def _flows() -> Iterator[tuple[str, Flow[..., Any]]]:
    for path in sorted((ROOT / "flows").glob("[!_]*.py")):
        for name, value in vars(import_module(f"flows.{path.stem}")).items():
            if isinstance(value, Flow) and value.fn.__module__ == f"flows.{path.stem}":
                yield name, value


DEPLOYMENTS = _deployments()


def test_every_page_belongs_to_a_procedure_and_every_procedure_has_one() -> None:
    assert {page.stem for page in (DOCS / "procedures").glob("*.md")} == set(DEPLOYMENTS)


def test_every_flow_has_its_deployment_unless_it_is_the_undo_of_another_one() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "flows").glob("*.py"))
    for name, flow in _flows():
        is_undo = re.search(rf"armed\(\s*{name},", sources)
        assert flow.name in DEPLOYMENTS or is_undo, f"{flow.name} has no deployment in prefect.yaml"


@pytest.mark.parametrize("procedure", DEPLOYMENTS)
def test_everything_that_the_run_form_asks_for_is_described_and_on_its_page(procedure: str) -> None:
    deployment = DEPLOYMENTS[procedure]
    page = (DOCS / "procedures" / f"{procedure}.md").read_text()
    assert deployment["description"]
    for name, schema in _flow(deployment["entrypoint"]).parameters.properties.items():
        assert schema.get("description"), f"{procedure}: parameter {name} has no description"
        assert f"| `{name}` |" in page, f"{procedure}: its page does not name parameter {name}"
    assert f"](docs/procedures/{procedure}.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(linked), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_is_one_that_backstop_understands(page: Path) -> None:
    for line in _command_lines(page.read_text()):
        _, name, *words = shlex.split(line, comments=True)
        assert name in COMMANDS, line
        if words:  # else it names the command, no more
            _parser(name).parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_run_that_is_shown_gives_parameters_that_the_procedure_has(page: Path) -> None:
    for line in _command_lines(page.read_text()):
        _, name, *words = shlex.split(line, comments=True)
        if name != "run" or not words:
            continue
        run = _parser("run").parse_args(words)
        known = _flow(DEPLOYMENTS[run.procedure]["entrypoint"]).parameters.properties
        assert {text.partition("=")[0] for text in run.parameter} <= known.keys(), line


def test_the_table_of_runbooks_names_parameters_and_fields_that_exist() -> None:
    rows = [line for line in (DOCS / "runbooks.md").read_text().splitlines() if line.startswith("| ")]
    given = [(row, name) for row in rows for name in re.findall(r"-p (\w+)=", row)]
    fields = [found for row in rows for found in re.findall(r"`(\w+)\.(\w+)", row) if found[0] in PARTS]
    assert given
    assert fields
    flows = {procedure: _flow(deployment["entrypoint"]) for procedure, deployment in DEPLOYMENTS.items()}
    takes = {procedure: set(flow.parameters.properties) for procedure, flow in flows.items()}
    of_row = {row: [name for procedure in takes if procedure in row for name in takes[procedure]] for row in rows}
    assert [name for row, name in given if name not in of_row[row]] == []
    assert [one for one in fields if not any(one[1] in kind.model_fields for kind in PARTS[one[0]].values())] == []


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {name for page in PAGES for name in re.findall(r"`make (?:[A-Z]+=\S+ )?([a-z]+)`", page.read_text())}
    assert shown
    assert shown <= targets


def test_every_dependency_says_what_it_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    page = (DOCS / "dependencies.md").read_text()
    first_cells = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`([^`]+)`", first_cells))
    assert named == {re.split(r"[\[<>=~! ]", dependency)[0] for dependency in wanted}


@pytest.mark.parametrize(
    ("heading", "block"),
    [*PART_HEADINGS.items(), *INNER.items()],
)
def test_every_field_of_the_environment_file_is_explained_as_its_form_does(
    heading: str, block: type[Block] | type[BaseModel]
) -> None:
    page = (DOCS / "environment-file.md").read_text()
    section = re.split(r"^##+ ", page.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = {line.split("|")[1].strip(" `"): line for line in section.splitlines() if line.startswith("| `")}
    fields = {field.alias or name: field for name, field in block.model_fields.items()}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        assert (field.description or "") in rows[name]
        assert ("**required**" in rows[name]) == field.is_required()


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"backstop {command}", exit_on_error=False)
    import_module(f"deployments.cli.{command}").add_arguments(parser)
    return parser


def _command_lines(text: str) -> list[str]:
    """Every `backstop …` in a code block or within a sentence, but for those with something left out."""
    blocks = re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text)
    commands = [line.removeprefix(".venv/bin/") for line in lines]
    return [line for line in commands if re.match("backstop [a-z]", line) and '…"' not in line and " … " not in line]


def _without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
