"""Who has to agree before one procedure changes anything in one environment."""

import re

from pydantic import BaseModel

APPROVER_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}")
"""What an approver may be called."""


class Policy(BaseModel):
    """What an environment says about one procedure."""

    needed: int
    """How many different people; 0: nobody is asked."""
    approvers: list[str]
    """Empty: whoever is enrolled."""
    open_hours: float
    break_glass: bool
    """Whether one of them may let it through alone."""
    frozen: str = ""
    """Until when and why that is the only way; empty when it is not."""
