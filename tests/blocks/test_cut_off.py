"""A program that is cut off answers us, reaches nobody, and does not outlive us."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from blocks.cut_off import CannotCutOff, cut_off
from blocks.surroundings import BARE
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended

INSIDE = 8080
SERVER = f"""
import http.server, socket, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            socket.create_connection(("127.0.0.1", int(self.path[1:])), 3).close()
            found = b"reached"
        except OSError as error:
            found = type(error).__name__.encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(found)

http.server.HTTPServer(("127.0.0.1", {INSIDE}), Answer).serve_forever()
"""


@contextmanager
def server(folder: str) -> Iterator[tuple[str, psutil.Process]]:
    """Says whether it reaches the port that it is asked for."""
    try:
        with cut_off([sys.executable, "-c", SERVER], INSIDE, BARE, folder) as (url, child):
            eventually(lambda: answers(url))
            yield url, psutil.Process(child.process.pid)
    except CannotCutOff as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(f"No user namespaces here: {error}")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/{INSIDE}", timeout=5, trust_env=False).text == "reached"
    except httpx.HTTPError:
        return False


def test_it_answers_us_and_reaches_itself_alone(tmp_path: Path) -> None:
    with server(str(tmp_path)) as (url, _), socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 3).close()
        assert httpx.get(f"{url}/{port}", timeout=5, trust_env=False).text == "ConnectionRefusedError"


def test_it_and_its_own_children_end_on_the_way_out(tmp_path: Path) -> None:
    with server(str(tmp_path)) as (_, process):
        family = [process, *process.children(recursive=True)]
        assert len(family) == 2
    eventually(lambda: have_ended(*family))


def test_what_a_program_said_before_it_ended_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('a'); sys.exit('no settings')"]
    with cut_off(command, INSIDE, BARE, str(tmp_path)) as (_, child):
        eventually(lambda: not child.is_running())
        assert "no settings" in child.read_complaint()
