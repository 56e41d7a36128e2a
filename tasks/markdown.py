"""Pages in Prefect's interface hold texts of other people: commit messages, names, refused parameters."""

import re

_MEANS_SOMETHING = re.compile(r"([\\`*_\[\]<>|!&#~$@]|:(?=//)|(?<=\bwww)\.)", re.IGNORECASE)


def plain(text: str) -> str:
    """One line that a page shows as it is: no link, image, HTML or table of its own."""
    return _MEANS_SOMETHING.sub(r"\\\1", " ".join(text.split()))
