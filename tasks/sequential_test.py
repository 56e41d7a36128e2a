"""Are too many requests bad? A test that may be looked at after every request.

Somebody starts with a wealth of 1 and bets on every request that more than the allowed
share is bad. The bets are fair at exactly the allowed share, so against a release within
its limit the wealth only shrinks on average, and by Ville's inequality it *ever* reaches
1/alpha with a chance of at most alpha. Looking often costs nothing, and enough wealth is proof.
"""

import math

STEPS = (0.01, 0.15)
"""One bet each: the true share lies this part of the way from the allowed share to 1."""

STAKES = (0.3, 0.6)
"""What is put on each; the larger on the large step, as there every second counts."""

RESERVE = 0.1
"""What is not bet at first: kept for a release that turns bad later."""

SHARED = 0.0005
"""Part of the wealth that is dealt out evenly after each round: a bet that lost everything
over an hour of good requests starts anew, and the failure after that hour is seen in seconds."""


ROUND = 0.4
"""Part of the shortest spell that is settled at once. Within a round good and bad moments
make up for each other, so that a release that stalls every other second is found as well."""


class SequentialTest:
    """`shortest_spell`: seconds of a bad spell that must not suffice, however bad it is.

    Requests of one moment fail together, so they are no independent proof: what one round
    can win is bounded by the time it covers. A bounded win keeps the guarantee.
    """

    def __init__(self, false_alarm: float, shortest_spell: float) -> None:
        self._needed = math.log(1 / false_alarm)
        self._shortest_spell = shortest_spell
        self._reserve = RESERVE
        self._bets = list(STAKES)
        self._begin_round()

    def _begin_round(self) -> None:
        self._bad = self._total = self._allowed = self._seconds = 0.0

    def weigh(self, bad: float, total: float, allowed: float, seconds: float) -> None:
        """Add one reading: `bad` of `total` requests, seen over `seconds`, where the share
        `allowed` (above 0) may be bad. `allowed` may differ from reading to reading.
        """
        if total <= 0:
            return
        self._bad += bad
        self._total += total
        self._allowed += min(1.0, allowed) * total
        self._seconds += seconds
        if self._seconds >= ROUND * self._shortest_spell:
            self._settle(self._allowed / self._total)
            self._begin_round()

    def _settle(self, allowed: float) -> None:
        if allowed >= 1:
            return
        most = self._needed * min(1.0, self._seconds / self._shortest_spell)
        for number, step in enumerate(STEPS):
            claimed = allowed + (1 - allowed) * step
            good = self._total - self._bad
            win = self._bad * math.log(claimed / allowed) + good * math.log((1 - claimed) / (1 - allowed))
            self._bets[number] *= math.exp(min(win, most))
        self._deal_out()

    def _deal_out(self) -> None:
        dealt = SHARED * self._wealth / (len(STEPS) + 1)
        self._bets = [(1 - SHARED) * bet + dealt for bet in self._bets]
        self._reserve = (1 - SHARED) * self._reserve + dealt

    @property
    def _wealth(self) -> float:
        return self._reserve + sum(self._bets)

    @property
    def progress(self) -> float:
        """From 0 (nothing speaks against it) to 1 (proven bad)."""
        return min(1.0, max(0.0, math.log(self._wealth) / self._needed))

    @property
    def proven(self) -> bool:
        return self.progress >= 1
