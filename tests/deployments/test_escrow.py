"""An escrow is made of all that an environment file refers to, or not at all."""

import subprocess
from pathlib import Path

import pyrage
import pytest
import yaml

from blocks.escrow import open_escrow
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rebuilding import Rebuilding, Workplace
from deployments.cli import main
from deployments.environment_file import read_environment_file
from deployments.escrow import fill_escrow, write_out
from deployments.rebuild import described_anew

STEP = {"name": "log in", "request": "POST /in", "json": {"password": "${APP_PASSWORD}"}}
FILE = {
    "environment": "app",
    "platform": {"type": "sandbox", "url": "http://127.0.0.1:1", "token": "${APP_TOKEN}"},
    "service": {"url": "http://127.0.0.1:1", "smoke": [STEP]},
    "metrics": {"type": "prometheus-endpoint"},
    "source": {"type": "git", "folder": "${APP_CODE}", "remote": "origin"},
    "approvals": {"needed": 2},
    "notices": {"channels": ["${APP_CHANNEL}"]},
}
VALUES = {"APP_TOKEN": "t0ken-value", "APP_PASSWORD": 'it\'s "quoted"', "APP_CHANNEL": "slack://x"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of an environment of which everything is known; its platform tells the application's variables."""
    code = tmp_path / "code"
    code.mkdir()
    for words in (("init", "--quiet"), ("remote", "add", "origin", "https://me:secret@host/app.git")):
        subprocess.run(["git", "-C", str(code), *words], check=True, timeout=30)
    (tmp_path / "identity").write_text("in a file\n")
    for name, value in {**VALUES, "APP_CODE": str(code), "PREFECT_API_URL": "http://127.0.0.1:1/api"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(SandboxPlatform, "read_variables", lambda self: {"DATABASE_URL": "old", "STRIPE": "sk"})
    path = tmp_path / "app.yaml"
    drills = {"escrow": "${APP_ESCROW}", "escrow_identity": "${APP_ESCROW_KEY}"}  # it cannot hold itself
    backups = {"identity": f"file:{tmp_path}/identity"}
    path.write_text(yaml.safe_dump({**FILE, "drills": drills, "backups": backups}))
    return path


def test_what_is_sealed_is_listed_by_name_and_comes_out_again(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(str(key))
    sealed = tmp_path / "app.age"
    assert main(["escrow", "make", str(file), "--for", str(key.to_public()), "--output", str(sealed)]) == 0
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert main(["escrow", "list", str(sealed), "--identity", str(tmp_path / "key")]) == 0
    into = tmp_path / "new machine"
    assert main(["escrow", "unpack", str(sealed), "--identity", str(tmp_path / "key"), "--into", str(into)]) == 0
    told = capsys.readouterr().out
    assert "${APP_PASSWORD}" in told
    assert [value for value in (*VALUES.values(), "in a file", "sk") if value in told.split()] == []
    shown = subprocess.run(
        ["bash", "-euc", '. "$1"; printf %s "$APP_PASSWORD"', "-", str(into / "variables")],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert shown.stdout == VALUES["APP_PASSWORD"]
    _, parts = read_environment_file(into / "app.yaml")
    assert Path(parts["backups"].identity.removeprefix("file:")).read_text() == "in a file"
    escrow = open_escrow(sealed.read_bytes(), str(key))
    assert escrow.repository == "https://me:secret@host/app.git"
    assert escrow.application == {"DATABASE_URL": "old", "STRIPE": "sk"}


def test_one_that_would_lack_something_is_not_made(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("APP_TOKEN")
    (tmp_path / "identity").unlink()
    public = str(pyrage.x25519.Identity.generate().to_public())
    assert main(["escrow", "make", str(file), "--for", public, "--output", str(tmp_path / "app.age")]) == 1
    told = capsys.readouterr().err
    assert "${APP_TOKEN}" in told
    assert f"file:{tmp_path}/identity" in told
    assert "No escrow was made." in told
    assert not (tmp_path / "app.age").exists()


def test_a_recipient_that_is_no_public_key(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["escrow", "make", str(file), "--for", "hunter2", "--output", str(tmp_path / "app.age")]) == 1
    assert "must be a public key of age" in capsys.readouterr().err


def test_a_rebuilt_environment_leads_to_nothing_that_is_live(file: Path, tmp_path: Path) -> None:
    escrow = fill_escrow(file)
    (tmp_path / "work").mkdir()
    work = Workplace(tmp_path / "work")
    written, variables = write_out(escrow, work.folder)
    told = Rebuilding(escrow=escrow, backup="x", version="v1")
    anew = described_anew(written.read_text(), told, work)
    (tmp_path / "anew.yaml").write_text(yaml.safe_dump(anew))
    _, parts = read_environment_file(tmp_path / "anew.yaml")
    assert parts.keys() & {"approvals", "notices", "drills", "region_copy", "cache"} == set()
    assert (parts["source"].folder, parts["store"].folder) == (str(work.repository), str(work.backups))
    assert variables["APP_TOKEN"] == VALUES["APP_TOKEN"]
    left = yaml.safe_dump(anew)
    assert [one for one in ("${APP_TOKEN}", "${APP_CODE}", "127.0.0.1:1'") if one in left] == []
