"""The parameters of a procedure: an environment's name in place of the environment, checked here too.

Prefect's forms and API check them by schema, but both let the caller switch that off.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from blocks.errors import BadParameter
from blocks.ledger.storable import storable

SHOWN_LENGTH = 200


class FilledInByRun:
    """Marks a parameter that a run gives to its own rollback. From outside it could lead anywhere."""


RequestedBy = Annotated[str, Field(max_length=100, description="Who asks for this. Claimed, not proven.")]
EnvironmentName = Annotated[str, Field(description="Which environment to act upon, as shop-production.")]


def flow_signature(function: Callable[..., object]) -> inspect.Signature:
    """The procedure's own signature, its first parameter being `environment: str`."""
    signature = inspect.signature(function)
    _, *others = signature.parameters.values()
    name = inspect.Parameter("environment", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=EnvironmentName)
    return signature.replace(parameters=[name, *others], return_annotation=inspect.Signature.empty)


def descriptions(signature: inspect.Signature) -> dict[str, str]:
    """Parameter → what its field in the run form says. Prefect itself reads docstrings only."""
    return {
        name: field.description or ""
        for name, parameter in signature.parameters.items()
        for field in get_args(parameter.annotation)
        if isinstance(field, FieldInfo)
    }


def checked(signature: inspect.Signature, given: Mapping[str, object], inside: bool = False) -> dict[str, Any]:
    """Every parameter, converted to its type. Raises BadParameter for the first one that is not allowed.

    `inside`: the procedure is called by another one, as its undo.
    """
    values = {}
    for name, parameter in signature.parameters.items():
        if name not in given:
            continue
        if not inside and given[name] is not None and FilledInByRun in get_args(parameter.annotation):
            raise BadParameter(name, given[name], "nothing; a run's own rollback fills it in")
        try:
            values[name] = TypeAdapter(parameter.annotation).validate_python(given[name])
        except ValidationError as error:
            raise BadParameter(name, given[name], error.errors()[0]["msg"]) from None
    return values


def shown(given: Mapping[str, object]) -> dict[str, object]:
    """The parameters as they may stand in the ledger: plain, short, without what PostgreSQL refuses."""
    return {name: storable(_plain(value)) for name, value in given.items()}


def digest(given: Mapping[str, object]) -> str:
    """SHA-256 of the parameters, whole."""
    return hashlib.sha256(json.dumps(_plain(given, shorten=False), sort_keys=True).encode()).hexdigest()


def _plain(value: object, shorten: bool = True) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(member, shorten) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member, shorten) for member in value]
    dump = getattr(value, "model_dump", None)
    if dump:
        return _plain(dump(mode="json"), shorten)
    text = str(value)
    return text if len(text) <= SHOWN_LENGTH or not shorten else f"{text[:SHOWN_LENGTH]}… ({len(text)} characters)"
