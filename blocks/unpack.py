"""Unpacking a tar archive into a folder, and nowhere else."""

import os
import tarfile
from pathlib import Path


def unpack(files: tarfile.TarFile, folder: Path) -> None:
    """Write its members below `folder`. Raises tarfile.TarError for one that would lead out of it.

    Python has the filter since 3.11.4; before that the same is looked after here.
    """
    if hasattr(tarfile, "data_filter"):
        files.extractall(folder, filter="data")
        return
    for member in files:
        _require_inside(member)
        member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        files.extract(member, folder)


def _require_inside(member: tarfile.TarInfo) -> None:
    places = [member.name]
    if member.issym():
        places.append(os.path.join(os.path.dirname(member.name), member.linkname))
    elif member.islnk():
        places.append(member.linkname)
    elif not (member.isreg() or member.isdir()):
        raise tarfile.ExtractError(f"{member.name} is neither a file nor a folder nor a link")
    for place in places:
        if os.path.isabs(place) or os.path.normpath(place).split(os.sep)[0] == os.pardir:
            raise tarfile.ExtractError(f"{member.name} would lead out of the folder")
