"""The names of tables as people write them: `tasks`, `public.tasks`, `"Mixed Case"."Order"`, several by commas."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from blocks.errors import BadParameter
from blocks.manifest import TableContent
from blocks.postgres.tables import title_of

_SHOWN_TABLES = 30
_PART = r'(?:"(?:[^"]|"")+"|[^\s",.]+)'
_NAME = re.compile(rf"\s*(?:({_PART})\.)?({_PART})\s*(,|$)")


class Name(NamedTuple):
    """A table's name. An empty schema: whichever has it."""

    schema: str
    table: str
    is_folded: bool
    """Written without quotes, so that `Tasks` may also mean `tasks`."""

    def means(self, schema: str, table: str) -> bool:
        return self.schema in ("", schema) and self.table == table


def parse_names(parameter: str, text: str) -> list[Name]:
    """Raises BadParameter for what is no list of names."""
    names, rest = [], text.strip().removesuffix(",")
    while rest:
        match = _NAME.match(rest)
        if match is None:
            raise BadParameter(parameter, text, 'tables by commas, as public.tasks,"Mixed Case"."Order"')
        schema, table = match[1] or "", match[2]
        names.append(Name(_unquoted(schema), _unquoted(table), '"' not in schema + table))
        rest = rest[match.end() :]
    return names


def choose_tables(text: str, contents: Sequence[TableContent]) -> list[TableContent]:
    """The tables of a backup that `text` names, each once. Raises BadParameter with those that there are."""
    chosen: dict[tuple[str, str], TableContent] = {}
    for name in parse_names("tables", text):
        found = [one for one in contents if name.means(one.schema_name, one.name)]
        if not found and name.is_folded:
            lower = Name(name.schema.lower(), name.table.lower(), True)
            found = [one for one in contents if lower.means(one.schema_name, one.name)]
        if len(found) != 1:
            raise BadParameter(
                "tables", text, f"names of tables in the backup: {', '.join(_titles(found or contents))}"
            )
        chosen[found[0].schema_name, found[0].name] = found[0]
    if not chosen:
        raise BadParameter("tables", text, f"at least one of {', '.join(_titles(contents))}")
    return [chosen[key] for key in sorted(chosen)]


def is_accepted(accepted: str, schema: str, table: str) -> bool:
    """Whether `accept_loss` names the table. Raises BadParameter."""
    return any(name.means(schema, table) for name in parse_names("accept_loss", accepted))


def _titles(contents: Sequence[TableContent]) -> Iterator[str]:
    yield from (title_of(one.schema_name, one.name) for one in contents[:_SHOWN_TABLES])
    if len(contents) > _SHOWN_TABLES:
        yield f"and {len(contents) - _SHOWN_TABLES} more"


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
