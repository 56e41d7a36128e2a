"""What was changed at Vercel, of which a stand-in takes the part."""

import re

from tests.blocks.stores.faults import Request
from tests.drills.change_log import ChangeLog

_TRAFFIC = re.compile(r"/(promote|rollback)/(\w+)\?")


class VercelLog(ChangeLog):
    repeatable = ("POST /v10/", "POST /v1/")

    def read_split(self, request: Request) -> dict[str, int] | None:
        found = _TRAFFIC.search(request.path)
        return {found[2]: 100} if found else None
