"""A server for one purpose: reachable for its owner alone, and gone afterwards."""

import stat
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from blocks.postgres.programs import find_programs_for
from blocks.postgres.throwaway import throwaway_server


@pytest.mark.parametrize("major", [16, 18])
def test_it_answers_on_a_socket_of_its_own_and_is_gone_afterwards(major: int) -> None:
    with throwaway_server(find_programs_for(major, major)) as url:
        folder = Path(unquote(url.partition("host=")[2]))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with psycopg.connect(url) as connection:
            assert connection.info.server_version // 10_000 == major
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
    assert not folder.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)


def test_what_happens_inside_ends_it_too() -> None:
    folders = []

    def fail() -> None:
        with throwaway_server(find_programs_for(18, 18)) as url, psycopg.connect(url):
            folders.append(Path(unquote(url.partition("host=")[2])))
            raise ZeroDivisionError  # while a session is open

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not folders[0].exists()
