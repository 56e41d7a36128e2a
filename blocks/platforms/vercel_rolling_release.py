"""How a deployment of Vercel gets its traffic in stages. https://vercel.com/docs/rolling-releases

The stages are the project's: each rolling release takes a copy of them as it begins. A stage ends when somebody
approves the next one, or by itself after a while: those cannot be followed. A visitor stays where he was sent.
"""

from typing import Any, NamedTuple

from pydantic import BaseModel

from blocks.errors import RefusedByPlatform
from blocks.platforms.interface import Split

_ALL = 100


class Stage(BaseModel):
    targetPercentage: float
    requireApproval: bool = False
    linearShift: bool = False


class Settings(BaseModel):
    """The project's, for those to come."""

    stages: list[Stage] | None = None

    def read_percents(self) -> list[int]:
        """Raises RefusedByPlatform for a stage that passes by itself."""
        stages = self.stages or []
        if alone := [one for one in stages[:-1] if one.linearShift or not one.requireApproval]:
            raise RefusedByPlatform(
                f"The project's stage at {alone[0].targetPercentage:g} % goes on by itself.",
                "Let each stage of its rolling releases but the last require approval. Nothing was changed.",
            )
        return [int(one.targetPercentage) for one in stages]


class _Deployment(BaseModel):
    id: str


class _ActiveStage(BaseModel):
    index: int
    targetPercentage: float


class RollingRelease(BaseModel):
    """One that is under way."""

    state: str
    currentDeployment: _Deployment | None = None
    canaryDeployment: _Deployment | None = None
    stages: list[Stage] = []
    activeStage: _ActiveStage | None = None

    @property
    def is_active(self) -> bool:
        return bool(self.state == "ACTIVE" and self.currentDeployment and self.canaryDeployment and self.activeStage)

    @property
    def base(self) -> str:
        return self.currentDeployment.id if self.currentDeployment else ""

    @property
    def canary(self) -> str:
        return self.canaryDeployment.id if self.canaryDeployment else ""

    @property
    def percent(self) -> int:
        return int(self.activeStage.targetPercentage) if self.activeStage else 0

    @property
    def split(self) -> Split:
        shares = {self.base: _ALL - self.percent, self.canary: self.percent}
        return {uid: share for uid, share in shares.items() if share}


class Reading(BaseModel):
    rollingRelease: RollingRelease | None
    """None where there never was one, or none of that state."""


class Request(NamedTuple):
    """One of Vercel's that changes the traffic."""

    path: str
    content: dict[str, Any]
    is_last: bool
    """Once it was carried out, what was asked for is in force."""


def request_on(rolling: RollingRelease, project: str, percent: int) -> Request:
    """What brings it to the next stage, or to its end. Raises RefusedByPlatform where none of them is `percent`."""
    where = f"/v1/projects/{project}/rolling-release"
    if percent == _ALL:
        return Request(f"{where}/complete", {"canaryDeploymentId": rolling.canary}, is_last=True)
    require_stage(percent, [int(one.targetPercentage) for one in rolling.stages])
    if percent < rolling.percent or rolling.activeStage is None:
        raise RefusedByPlatform(
            f"The rolling release is at {rolling.percent} % and does not go back to {percent} %.",
            "Give all traffic back to the deployment before it. Nothing was changed.",
        )
    index = rolling.activeStage.index + 1
    content = {"nextStageIndex": index, "canaryDeploymentId": rolling.canary}
    return Request(f"{where}/approve-stage", content, is_last=rolling.stages[index].targetPercentage == percent)


def require_stage(percent: int, stages: list[int]) -> None:
    """Raises RefusedByPlatform."""
    if percent not in stages:
        told = ", ".join(f"{one} %" for one in stages)
        raise RefusedByPlatform(f"{percent} % is no stage of the project: {told or 'none'}.", "Nothing was changed.")
