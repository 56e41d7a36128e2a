"""What the demo tells: each chapter is one run of a procedure, and how it has to end."""

from typing import NamedTuple

from deployments.stack.first_release import FIRST_VERSION

BEGINNING = FIRST_VERSION
"""What both environments run when the story begins."""
GOOD, NEXT, BAD = "v1.1.0", "v2.0.0", "v1.3.0"
STAGING, PRODUCTION = "shop-staging", "shop-production"


class Chapter(NamedTuple):
    title: str
    remark: str
    """What to look out for."""
    procedure: str
    environment: str
    parameters: dict[str, str]
    ending: str
    """The one that the story wants."""
    is_asked: bool = False
    """It waits until somebody else has agreed."""


STORY = (
    Chapter(
        f"{GOOD} to staging",
        "A good release. Staging has no visitors; what it sees is the release's own verification.",
        *("deploy", STAGING, {"version": GOOD}, "Done"),
    ),
    Chapter(
        f"{GOOD} to production",
        "Visitors send 20 requests a second. They reach the release in steps, and nobody notices.",
        *("deploy", PRODUCTION, {"version": GOOD}, "Done"),
    ),
    Chapter(
        f"{BAD} to staging",
        "A bad release: every fifth request to /offers fails. Its verification does not ask there, so it passes.",
        *("deploy", STAGING, {"version": BAD}, "Done"),
    ),
    Chapter(
        f"{BAD} to production",
        "Here it meets visitors. It is caught, and all traffic goes back.",
        *("deploy", PRODUCTION, {"version": BAD}, "Rolled back"),
    ),
    Chapter(
        "Backup of production",
        "Dumped, compressed, encrypted and stored in one stream, while the visitors go on.",
        *("back-up-database", PRODUCTION, {}, "Done"),
    ),
    Chapter(
        "Proof of that backup",
        "Restored into a throw-away server, every row compared. Until then it is only a hope.",
        *("verify-backup", PRODUCTION, {}, "Done"),
    ),
    Chapter(
        "Backup of staging",
        "The same where a restore disturbs nobody.",
        *("back-up-database", STAGING, {}, "Done"),
    ),
    Chapter("Proof of that one", "A restore takes only what is proven.", *("verify-backup", STAGING, {}, "Done")),
    Chapter(
        "Restore of staging",
        "Into a new database, compared again, which then takes the live one's name. The old one is kept.",
        *("restore-and-verify", STAGING, {}, "Done"),
    ),
    Chapter(
        "Rows of the backup, beside",
        "Production asks a second person first. A wrong code changes nothing; the right one lets the run go on.",
        *("restore-table", PRODUCTION, {"tables": "public.tasks"}, "Done"),
        is_asked=True,
    ),
    Chapter(
        "A disaster, beside production",
        "Could it be brought back now? Restored, every row compared, started, tried, and the time it took.",
        *("dr-drill", PRODUCTION, {}, "Done"),
    ),
    Chapter(
        f"{NEXT} to staging",
        "It brings a migration: rehearsed on that backup, and back again; applied with a new backup behind it.",
        *("deploy", STAGING, {"version": NEXT}, "Done"),
    ),
    Chapter(
        f"{NEXT} to production",
        "The same under visitors: the schema first, then the release in steps. Nobody notices.",
        *("deploy", PRODUCTION, {"version": NEXT}, "Done"),
    ),
    Chapter(
        "Health of production",
        "Everything that keeps the service alive, looked at once.",
        *("health-check", PRODUCTION, {}, "Done"),
    ),
)
