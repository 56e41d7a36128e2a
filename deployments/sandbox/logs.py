from pathlib import Path

_NEWEST_BYTES = 256 * 1024


def read_tail(path: Path, lines: int) -> list[str]:
    """The newest lines of a log, oldest first; none when there is no log."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _NEWEST_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
