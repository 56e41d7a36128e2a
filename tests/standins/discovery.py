"""Google's published description of an API: what is sent and what is answered is held against it.

A discovery document is no OpenAPI: its schemas are translated to JSON Schema. Stricter than Google, a field that is not
described is a mistake in an answer, too. https://developers.google.com/discovery/v1/reference/apis
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from tests.standins.description import FOLDER, Sent

Described = dict[str, Any]

_FORMATS: dict[str, Described] = {
    "int64": {"pattern": r"^-?\d+$"},
    "uint64": {"pattern": r"^\d+$"},
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "uint32": {"minimum": 0, "maximum": 2**32 - 1},
    "byte": {"pattern": r"^[A-Za-z0-9+/]*={0,2}$"},
    "google-datetime": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$"},
    "google-duration": {"pattern": r"^-?\d+(\.\d{1,9})?s$"},
    "google-fieldmask": {"pattern": r"^[A-Za-z0-9_.*]+(,[A-Za-z0-9_.*]+)*$"},
}
_ERROR: Described = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["code", "message", "status"]}},
}
"""All of Google's APIs refuse like that. https://google.aip.dev/193#http11json-representation"""


_SYSTEM: Described = {"$alt": {"type": "string", "enum": ["json;enum-encoding=int"]}}
"""Google's own clients send it, and then names as numbers. https://cloud.google.com/apis/docs/system-parameters"""


class NotDescribed(Exception):
    """The description allows no such request, or no such answer to it."""


class _Method(NamedTuple):
    id: str
    verb: str
    path: re.Pattern[str]
    parameters: Mapping[str, Described]
    request: str | None
    """Name of the schema of its body."""
    response: str

    def matches(self, verb: str, path: str) -> bool:
        found = self.path.fullmatch(path) if verb == self.verb else None
        return found is not None and all(
            re.search(self.parameters[name].get("pattern", ""), value) for name, value in found.groupdict().items()
        )


class Discovery:
    def __init__(self, name: str) -> None:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            pytest.skip(f"no description of {name} beside the checkout, at ../shared/specs/{name}.json")
        content = json.loads(path.read_text())
        self._methods = list(_methods(content, content["servicePath"]))
        self._everywhere = content["parameters"] | _SYSTEM
        self._schemas = {name: _as_json_schema(schema) for name, schema in content["schemas"].items()}
        self._numbered: Described = _with_numbers(self._schemas)

    def check(self, sent: Sent, status: int, answered: bytes) -> None:
        """Raises NotDescribed. What was refused may have been sent wrongly: of that the answer alone is looked at."""
        if status >= 400:
            _raise_unless_valid("The refusal", _ERROR, json.loads(answered))
            return
        method = next((one for one in self._methods if one.matches(sent.method, sent.path)), None)
        if not method:
            raise NotDescribed(f"There is no {sent.method} {sent.path}.")
        self._check_query(method, sent)
        if sent.content or method.request:
            if not method.request:
                raise NotDescribed(f"{method.id} has no body.")
            schemas = self._numbered if "$alt" in sent.query else self._schemas
            self._check_body(f"The request of {method.id}", method.request, sent.content, schemas)
        self._check_body(f"The answer of {method.id}", method.response, answered, self._schemas)

    def _check_body(self, named: str, schema: str, content: bytes, schemas: Described) -> None:
        _raise_unless_valid(named, {"$ref": f"#/$defs/{schema}", "$defs": schemas}, json.loads(content))

    def _check_query(self, method: _Method, sent: Sent) -> None:
        allowed = {name: one for name, one in method.parameters.items() if one["location"] == "query"}
        given: list[tuple[str, str]] = list(getattr(sent.query, "multi_items", sent.query.items)())
        for name, value in given:
            described = allowed.get(name) or self._everywhere.get(name)
            if not described:
                raise NotDescribed(f"{method.id} has no parameter {name}.")
            _raise_unless_valid(f"{name} of {method.id}", _as_parameter(described), value)
        once = [name for name, _ in given if not allowed.get(name, {}).get("repeated")]
        missing = {name for name, one in allowed.items() if one.get("required")} - {name for name, _ in given}
        if missing or len(once) > len(set(once)):
            raise NotDescribed(f"{method.id} lacks {sorted(missing)}, or something is said twice: {once}.")


def _methods(resource: Described, prefix: str) -> Iterator[_Method]:
    for one in resource.get("methods", {}).values():
        pattern = re.sub(r"\\{(\\\+)?(\w+)\\}", _as_group, re.escape("/" + prefix + one["path"]))
        schemas = (one.get("request", {}).get("$ref"), one["response"]["$ref"])
        yield _Method(one["id"], one["httpMethod"], re.compile(pattern), one["parameters"], *schemas)
    for below in resource.get("resources", {}).values():
        yield from _methods(below, prefix)


def _as_group(match: re.Match[str]) -> str:
    return f"(?P<{match[2]}>{'.+' if match[1] else '[^/]+'})"


def _as_json_schema(described: Described) -> Described:
    if "$ref" in described:
        return {"$ref": f"#/$defs/{described['$ref']}"}
    if described.get("type", "any") == "any":
        return {}
    schema = {"type": described["type"], **_FORMATS.get(described.get("format", ""), {})}
    schema |= {name: described[name] for name in ("enum", "pattern") if name in described}
    if "items" in described:
        schema["items"] = _as_json_schema(described["items"])
    if described["type"] == "object":
        schema["properties"] = {name: _as_json_schema(one) for name, one in described.get("properties", {}).items()}
        schema["additionalProperties"] = _as_json_schema(described.get("additionalProperties", {"type": "any"}))
        if "additionalProperties" not in described and "properties" in described:
            schema["additionalProperties"] = False
    return schema


def _with_numbers(schema: Any) -> Any:
    """The same, where what has a name may be given by a number, too."""
    if isinstance(schema, list):
        return [_with_numbers(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "string" and "enum" in schema:
        return {"anyOf": [schema, {"type": "integer"}]}
    return {name: _with_numbers(one) for name, one in schema.items()}


def _as_parameter(described: Described) -> Described:
    """Of what stands in an address, where everything is text."""
    texts: dict[str, Described] = {
        "boolean": {"enum": ["true", "false"]},
        "integer": {"pattern": r"^-?\d+$"},
        "number": {},
    }
    if described["type"] in texts:
        return {"type": "string", **texts[described["type"]]}
    return _as_json_schema(described)


def _raise_unless_valid(named: str, schema: Described, content: Any) -> None:
    wrong = [f"{one.json_path}: {one.message[:200]}" for one in Draft202012Validator(schema).iter_errors(content)]
    if wrong:
        raise NotDescribed(f"{named}: {'; '.join(wrong[:5])}")


@functools.cache
def discovered(name: str) -> Discovery:
    """By the name of its file, as `google-run-v2`."""
    return Discovery(name)
