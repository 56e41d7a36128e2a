"""A rolling release as the stand-in for Vercel keeps it, and how it is begun, led on and ended by calls.

The description tells how one is read, and leaves out what leads it on: the names and fields of those calls are those of
Vercel's own client (@vercel/sdk 1.28.35). They answer as the one that reads it does. That a promotion begins one, and a
rollback ends it, is what Vercel's command line relies on.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

READ = "/v1/projects/{idOrName}/rolling-release"
APPROVE, COMPLETE = f"{READ}/approve-stage", f"{READ}/complete"
_ASKED = {
    APPROVE: {"nextStageIndex": "number", "canaryDeploymentId": "string"},
    COMPLETE: {"canaryDeploymentId": "string"},
}


def with_what_leads_it_on(content: dict[str, Any]) -> None:
    """Into a description that has the one that reads it."""
    reads = content["paths"][READ]["get"]
    for path, fields in _ASKED.items():
        shape = {
            "type": "object",
            "required": list(fields),
            "properties": {name: {"type": kind} for name, kind in fields.items()},
            "additionalProperties": False,
        }
        call = copy.deepcopy(reads) | {
            "operationId": path,
            "requestBody": {"required": True, "content": {"application/json": {"schema": shape}}},
        }
        call["parameters"] = [one for one in call["parameters"] if one["name"] != "state"]
        content["paths"][path] = {"post": call}


def as_settings(percents: list[int], by_themselves: bool) -> dict[str, Any] | None:
    """The project's."""
    if not percents:
        return None
    stages: list[dict[str, Any]] = [{"targetPercentage": one, "requireApproval": True} for one in percents[:-1]]
    if by_themselves:
        stages[0] = {"targetPercentage": percents[0], "duration": 300}
    return {"target": "production", "stages": [*stages, {"targetPercentage": percents[-1]}]}


@dataclass
class RollingRelease:
    base: str
    canary: str
    percents: list[int]
    state: Literal["ACTIVE", "COMPLETE", "ABORTED"] = "ACTIVE"
    stage: int = 0
    began: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def percent(self) -> int:
        return self.percents[self.stage]

    def as_content(self, show: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        stages = [
            {
                "index": index,
                "isFinalStage": percent == 100,
                "targetPercentage": percent,
                "requireApproval": percent != 100,
                "duration": None,
            }
            for index, percent in enumerate(self.percents)
        ]
        active, further = self.state == "ACTIVE", stages[self.stage + 1 :]
        return {
            "state": self.state,
            "currentDeployment": _pick(show(self.base)),
            "canaryDeployment": _pick(show(self.canary)),
            "queuedDeploymentId": None,
            "advancementType": "manual-approval",
            "stages": stages,
            "activeStage": stages[self.stage] if active else None,
            "nextStage": further[0] if active and further else None,
            "startedAt": self.began,
            "updatedAt": self.began,
        }


def _pick(deployment: dict[str, Any]) -> dict[str, Any]:
    return {name: deployment[name] for name in ("id", "name", "url", "target", "createdAt", "readyState")}
