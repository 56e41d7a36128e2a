"""A small service with a release in git, which a drill can boot: it writes notes, and says whom it can reach."""

import subprocess
import sys
from pathlib import Path

from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from blocks.trial import Trial

VERSION = "v1"
INSIDE = 8080
"""Where it listens when it is cut off."""
PROGRAM = """
import http.server, json, os, socket, sys
import psycopg

if os.environ.get("BREAKS"):
    sys.exit("no such setting: " + os.environ["BREAKS"])

def write_note():
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=2) as connection:
        return connection.execute("INSERT INTO note (text) VALUES ('smoke') RETURNING id").fetchone()[0]

def reaches(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return False
    return True

def has_cache():
    with socket.socket(socket.AF_UNIX) as cache:
        cache.connect(os.environ["REDIS_URL"].removeprefix("unix://"))
        cache.sendall(b"PING\\r\\n")
        return cache.recv(5) == b"+PONG"

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {"version": "v1"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/reach":
            return self.answer(200, {"reached": list(filter(reaches, os.environ.get("REACH", "").split()))})
        if self.path == "/cache":
            return self.answer(200, {"cached": has_cache()})
        try:
            self.answer(201, {"id": write_note()})
        except psycopg.Error as error:
            self.answer(503, {"error": type(error).__name__})

    def answer(self, status, content):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
SMOKE = [
    {"name": "write a note", "request": "POST /notes", "expect": 201},
    {"name": "reach nobody", "request": "POST /reach", "expect_json": {"reached": []}},
]

USE_CACHE = {"name": "use the cache", "request": "POST /cache", "expect_json": {"cached": True}}


def make_repository(folder: Path) -> GitRepository:
    """With the release, tagged."""
    folder.mkdir()
    (folder / "service.py").write_text(PROGRAM)
    author = ("-c", "user.name=Shop", "-c", "user.email=shop@example.com")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=v1"), ("tag", VERSION)):
        subprocess.run(["git", "-C", str(folder), *author, *words], check=True, capture_output=True, timeout=30)
    return GitRepository(folder=str(folder))


def trial(cache_variable: str = "", **variables: str) -> Trial:
    command = [sys.executable, "service.py"]
    return Trial(command=command, cache_variable=cache_variable, variables=variables, start_seconds=15)


def service(url: str, *more: dict[str, object]) -> Service:
    """As users of the live one would meet it; in a drill the same is asked of the booted one."""
    return Service(url=url, version="/version", smoke=[*SMOKE, *more])
