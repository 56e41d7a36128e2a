"""Archives are unpacked into their folder, and nowhere else; also by a Python that cannot look after it by itself."""

import io
import tarfile
from pathlib import Path

import pytest

from blocks.unpack import unpack

OUTSIDE = [
    {"name": "../word"},
    {"name": "inside/../../word"},
    {"name": "link", "type": tarfile.SYMTYPE, "linkname": "../word"},
    {"name": "inside/link", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    {"name": "link", "type": tarfile.LNKTYPE, "linkname": "../word"},
    {"name": "device", "type": tarfile.CHRTYPE},
]


@pytest.fixture(params=["own filter", "no filter"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    if request.param == "no filter":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "word").write_text("before")
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_files_folders_and_links_inside_arrive(folder: Path) -> None:
    with archive(
        {"name": "inside", "type": tarfile.DIRTYPE, "mode": 0o755}, {"name": "inside/word", "mode": 0o644}
    ) as one:
        unpack(one, folder)
    with archive({"name": "inside/link", "type": tarfile.SYMTYPE, "linkname": "../inside/word"}) as one:
        unpack(one, folder)
    assert (folder / "inside" / "link").read_text() == "content"


@pytest.mark.parametrize("member", OUTSIDE, ids=lambda member: f"{member['name']} {member.get('linkname', '')}")
def test_what_leads_out_is_refused(folder: Path, member: dict[str, object]) -> None:
    with archive(member) as one, pytest.raises(tarfile.TarError):
        unpack(one, folder)
    assert (folder.parent / "word").read_text() == "before"
    assert not [path for path in folder.rglob("*") if not path.is_dir()]


def archive(*members: dict[str, object]) -> tarfile.TarFile:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as files:
        for attributes in members:
            member = tarfile.TarInfo()
            for name, value in attributes.items():
                setattr(member, name, value)
            content = b"content" if member.isreg() else b""
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
    return tarfile.open(fileobj=io.BytesIO(packed.getvalue()))
