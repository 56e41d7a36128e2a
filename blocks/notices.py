"""Who is told, and where."""

import logging
from typing import TYPE_CHECKING

from pydantic import Field

from blocks.errors import Unreachable
from blocks.pager import PagerDuty
from blocks.part import Part
from blocks.reference import Secret, resolve
from blocks.status_page import Statuspage

if TYPE_CHECKING:
    from apprise import Apprise

logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs addresses, and they hold secrets
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # below that, paths: Telegram's holds the token


class Notices(Part):
    """Where messages go. Without a channel they stand in the run's log."""

    _block_type_name = "Notices"
    _block_type_slug = "notices"
    _description = "Where messages about runs go: Slack, Telegram, e-mail, webhooks and whatever else apprise speaks."

    channels: list[Secret] = Field(
        default_factory=list,
        max_length=20,
        description="References to apprise URLs, as slack://, tgram://, mailto://.",
    )
    pager: PagerDuty | None = Field(None, description="Who is paged when a run needs a human.")
    status_page: Statuspage | None = Field(None, description="What tells visitors that they are kept out.")

    def check(self, channel: str) -> None:
        """Raises Unreachable when it holds no address that a message can be sent to. Nobody is told anything."""
        self._sender(channel)

    def send(self, channel: str, title: str, body: str) -> None:
        """Plain text, whatever stands in it. Raises Unreachable when the channel did not take it, without the URL.

        Never repeated: neither where the channel says for how long to wait, which is longer than anybody waits here.
        """
        if not self._sender(channel).notify(title=title, body=body, body_format="text"):
            raise Unreachable(f"{channel} did not take the message.")

    def _sender(self, channel: str) -> "Apprise":
        import apprise  # here: most runs tell nobody but their log

        sender = apprise.Apprise()
        if not sender.add(resolve(channel)):
            raise Unreachable(f"{channel} holds no address that a message can be sent to.")
        return sender
