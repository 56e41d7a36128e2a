"""Whatever way an address is written, the guard knows where it leads."""

import socket
from pathlib import Path

import pytest

from tasks.drill_guard import addresses_of

HERE = "this machine"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://a:b@127.0.0.1:5433/shop", "postgres://c@localhost:5433/other?sslmode=disable"),
        ("postgresql://127.0.0.1/shop", "host=localhost dbname=shop"),
        ("postgresql+psycopg://127.0.0.1:5432/shop", "postgresql://127.0.0.2/shop"),
        ("postgresql://10.0.0.9,localhost:5432/shop", "postgresql://localhost/shop"),
        ("postgresql:///shop", "postgresql://localhost:5432/shop"),
        ("postgresql:///shop?host=/var/run/postgresql", "postgresql:///other"),
        ("redis://:secret@localhost/0", "redis://127.0.0.1:6379/5"),
        ("http://localhost:80/", "http://127.0.0.1"),
        ("https://[::1]/", "https://[::1]:443/path"),
        ("http://unknown.invalid:8080", "http://UNKNOWN.invalid:8080/x"),
    ],
)
def test_the_same_place(one: str, other: str) -> None:
    assert addresses_of(one) & addresses_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://127.0.0.1:5432/shop", "postgresql://127.0.0.1:5433/shop"),
        ("postgresql://10.0.0.9/shop", "postgresql://10.0.0.8/shop"),
        ("redis://127.0.0.1", "postgresql://127.0.0.1"),
        ("postgresql:///shop?host=/a&port=1", "postgresql:///shop?host=/b&port=2"),
    ],
)
def test_another_place(one: str, other: str) -> None:
    assert not addresses_of(one) & addresses_of(other)


@pytest.mark.parametrize("text", ["", "a secret", "t=1,v1=abc", "30", "/etc/passwd", "for trials only"])
def test_what_is_no_address_leads_nowhere(text: str) -> None:
    assert addresses_of(text) == set()


def test_the_folder_of_a_server_and_its_socket_lead_to_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/.s.PGSQL.5432")
        found = addresses_of(f"postgresql:///x?host={tmp_path}")
        assert addresses_of(str(tmp_path)) <= found
        assert addresses_of(f"{tmp_path}/.s.PGSQL.5432") == addresses_of(str(tmp_path)) != set()
    assert addresses_of(f"redis+socket://{tmp_path}/redis") == addresses_of(f"unix://{tmp_path}/redis") != set()


def test_a_socket_is_known_by_whatever_name_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert addresses_of(f"postgresql:///x?host={tmp_path}/real") == addresses_of(
        f"postgresql:///y?host={tmp_path}/link"
    )
