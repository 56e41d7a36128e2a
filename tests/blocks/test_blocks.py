"""What every block that a person fills in must be: found in the interface, explained, and empty of secrets."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_origin

import pytest
from _pytest.mark import ParameterSet
from prefect.blocks.core import Block
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

import blocks
from blocks.environment import Environment
from blocks.part import Part
from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.cloud_run import CloudRunPlatform
from blocks.platforms.docker import DockerPlatform
from blocks.platforms.interface import Platform
from blocks.platforms.railway import RailwayPlatform
from blocks.platforms.sandbox import SandboxPlatform
from blocks.platforms.vercel import VercelPlatform

SECRET = re.compile(r"password|secret|token|key|channels|credential", re.IGNORECASE)
ADDRESS = re.compile(r"url|address", re.IGNORECASE)
REFERENCE = "${SOME_NAME}"


def find_blocks() -> list[type[Block]]:
    for module in pkgutil.walk_packages(blocks.__path__, "blocks."):
        import_module(module.name)
    found = sorted(_below(Block), key=lambda kind: kind.__name__)
    ours = [kind for kind in found if kind.__module__.startswith("blocks.") and kind is not Part]
    return [kind for kind in ours if not inspect.isabstract(kind)]


def _below(kind: type[Block]) -> set[type[Block]]:
    return {below for child in kind.__subclasses__() for below in {child, *_below(child)}}


def find_models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The block itself and what is filled in as a part of it; other blocks are referred to, not filled in."""
    yield kind
    for field in kind.model_fields.values():
        for inner in _types_in(field.annotation):
            if inspect.isclass(inner) and issubclass(inner, BaseModel) and not issubclass(inner, Block):
                yield from find_models(inner)


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _types_in(argument)


BLOCKS = find_blocks()
FIELDS = [
    pytest.param(name, field, id=f"{kind.__name__}.{model.__name__}.{name}")
    for kind in BLOCKS
    for model in find_models(kind)
    for name, field in model.model_fields.items()
]


def names_a(pattern: re.Pattern[str], parameters: ParameterSet) -> bool:
    name, field = parameters.values
    return bool(pattern.search(str(name))) and str in _types_in(field.annotation)  # type: ignore[union-attr]


def test_they_were_found() -> None:
    names = {kind.__name__ for kind in BLOCKS}
    assert {"Environment", "SandboxPlatform", "PrometheusEndpoint", "GitRepository", "PostgresDatabase"} <= names
    assert not names & {"Platform", "Metrics"}


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_interface_can_name_and_explain_it(kind: type[Block]) -> None:
    for attribute in ("_block_type_name", "_block_type_slug", "_description"):
        assert vars(kind).get(attribute), f"{kind.__name__} has no {attribute} of its own"
    slug = kind.get_block_type_slug()
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert slug == str(vars(kind)["_block_type_name"]).lower().replace(" ", "-")
    assert (kind.get_description() or "").endswith(".")


def test_no_two_have_the_same_name() -> None:
    assert len({kind.get_block_type_slug() for kind in BLOCKS}) == len(BLOCKS)


def test_what_stands_in_a_block_takes_no_field_that_it_does_not_know() -> None:
    """A misspelt one would be its default, and nobody be told."""
    inside = {one for kind in find_blocks() for one in find_models(kind) if not issubclass(one, Block)}
    assert [one.__name__ for one in inside if one.model_config.get("extra") != "forbid"] == []


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_each_field_says_what_it_is(name: str, field: FieldInfo) -> None:
    assert field.description
    assert field.description.endswith(".")


@pytest.mark.parametrize(("name", "field"), [one for one in FIELDS if names_a(SECRET, one)])
def test_a_field_for_a_secret_takes_references_only(name: str, field: FieldInfo) -> None:
    assert takes(name, field, REFERENCE)
    assert not takes(name, field, "hunter2")


@pytest.mark.parametrize(("name", "field"), [one for one in FIELDS if names_a(ADDRESS, one)])
def test_an_address_takes_no_login(name: str, field: FieldInfo) -> None:
    assert takes(name, field, REFERENCE)
    for address in ("https://user:hunter2@host/", "https://hunter2@host/", "https://host/?password=hunter2"):
        assert not takes(name, field, address)


def takes(name: str, field: FieldInfo, text: str) -> bool:
    probe = create_model("Probe", **{name: (field.annotation, field)})  # type: ignore[call-overload]
    try:
        probe.model_validate({name: [text] if get_origin(field.annotation) is list else text})
    except ValidationError:
        return False
    return True


PLATFORMS = [
    SandboxPlatform(url="http://127.0.0.1:1", token=REFERENCE),
    DockerPlatform(service="shop", image="shop", caddy=CaddyRoute(route="shop")),
    VercelPlatform(project="shop", repository="example/shop", token=REFERENCE, url="http://127.0.0.1:1"),
    RailwayPlatform(project="1", railway_environment="2", service="3", token=REFERENCE),
    CloudRunPlatform(
        project="shop-project", region="europe-west1", service="shop", image="shop", credentials=REFERENCE
    ),
]


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: type(platform).__name__)
def test_a_saved_platform_is_read_again_as_what_it_was(platform: Platform) -> None:
    """Prefect saves a block that is a part of another one without the name of its type."""
    saved = platform.model_dump(mode="json")
    del saved["block_type_slug"]
    annotation: Any = Environment.model_fields["platform"].annotation
    read = TypeAdapter[Any](annotation).validate_python(saved)
    assert type(read) is type(platform)
    assert read == platform
