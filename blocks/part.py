"""What an environment is made of: Prefect blocks."""

from copy import deepcopy
from functools import cache
from typing import Any

from prefect.blocks.core import Block

_registered: set[type[Block]] = set()


@cache
def _describe(block: type[Block], arguments: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    described: dict[str, Any] = Block.model_json_schema.__func__(block, *arguments, **dict(options))  # type: ignore[attr-defined]
    return described


class Part(Block):
    """A block whose type a process registers once, and describes once.

    Prefect would do the one each time that a block is saved, with all nested ones, and the other for every field that
    it looks at: that was half of the time that applying an environment took.
    """

    @classmethod
    def register_type_and_schema(cls, *arguments: Any, **options: Any) -> None:
        if cls not in _registered:
            super().register_type_and_schema(*arguments, **options)
            _registered.add(cls)

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        return deepcopy(_describe(cls, arguments, tuple(options.items())))
