"""What an environment is made of: Prefect blocks."""

from typing import Any

from prefect.blocks.core import Block

_registered: set[type[Block]] = set()


class Part(Block):
    """A block whose type a process registers once. Prefect would each time one is saved, with all nested ones."""

    @classmethod
    def register_type_and_schema(cls, *arguments: Any, **options: Any) -> None:
        if cls not in _registered:
            super().register_type_and_schema(*arguments, **options)
            _registered.add(cls)
