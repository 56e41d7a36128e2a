"""No drill touches what is live: every address that it would use is held against those of the live environment."""

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import psutil

from blocks.environment import Environment
from blocks.errors import Refused
from blocks.postgres.connection import read_conninfo
from blocks.reference import resolve
from tasks.live_database import instances_of, logins_of

_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "postgres": 5432, "postgresql": 5432}
_SOCKETS = "/var/run/postgresql"
"""Where libpq looks when no host is named."""
_HERE = "this machine"


class Address(NamedTuple):
    """Where something answers: a host as it resolves and a port, or a socket's path and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


def require_beside(environment: Environment) -> None:
    """Raises Refused when anything that the drill would use belongs to the live environment."""
    live = dict(_live_addresses(environment))
    for name, url in _own_urls(environment):
        for address in addresses_of(url):
            if address in live:
                raise Refused(
                    f"The drill would reach what is live: {name} leads to {live[address]} of"
                    f" {environment.environment}.",
                    f"Let {name} name another one. Nothing was connected to, and nothing was changed.",
                )


def require_no_live_socket(environment: Environment, variables: Mapping[str, str]) -> None:
    """Of what an application is given that has a loopback of its own. Raises Refused for a live server's socket."""
    live = dict(_live_addresses(environment))
    for name, value in variables.items():
        for address in addresses_of(value):
            if address in live and not address.port:
                raise Refused(f"The drill would reach what is live: {name} is the socket of {live[address]}.")


def require_own_server(environment: Environment, url: str) -> None:
    """Of the server that the drill is about to restore into. Raises Refused for one that is live."""
    live = dict(_live_addresses(environment))
    for address in addresses_of(url):
        if address in live and not address.port:  # its port it shares with others: it listens on a socket only
            raise Refused(f"The drill's server is {live[address]} of {environment.environment}.")


def addresses_of(url: str) -> set[Address]:
    """Every address that the URL may lead to; none for what is no URL."""
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme in ("postgres", "postgresql") or (not scheme and "host=" in url):
        return set(_postgres_addresses(read_conninfo(url)))
    parts = urlsplit(url)
    if url.startswith("/"):
        sockets = [Path(url), *Path(url).glob(".s.PGSQL.*[0-9]")]
        return {Address(os.path.realpath(one), 0) for one in sockets if one.is_socket()}
    if scheme == "unix" or parts.scheme.endswith("+socket"):
        return {Address(os.path.realpath(parts.path), 0)}
    if not parts.hostname:
        return set()
    return _resolved(parts.hostname, _port_of(url, _PORTS.get(scheme, 0)))


def _live_addresses(environment: Environment) -> Iterator[tuple[Address, str]]:
    """With what answers there, in words. A reference that is not there leads nowhere."""
    for name, url in _live_urls(environment):
        for address in addresses_of(url):
            yield address, name


def _live_urls(environment: Environment) -> Iterator[tuple[str, str]]:
    yield "the service", resolve(environment.service.url)
    yield "the platform", resolve(getattr(environment.platform, "url", ""))
    if environment.cache:
        yield "the cache", resolve(environment.cache.url)
    for instance in instances_of(environment):
        logins = logins_of(environment, instance)
        yield from (("the database", url) for url in (logins.url, logins.backup_url, logins.restore_url))


def _own_urls(environment: Environment) -> Iterator[tuple[str, str]]:
    if environment.backups.scratch_url:
        yield "backups.scratch_url", resolve(environment.backups.scratch_url)
    trial = environment.trial
    for name, value in trial.variables.items() if trial else ():
        found = resolve(value)
        # What is cut off has a loopback of its own: there the same address is another place. A preparation is not.
        is_elsewhere = trial and not trial.preparation and all(one.host == _HERE for one in addresses_of(found))
        if not is_elsewhere or _has_login(found):
            yield f"trial.variables.{name}", found


def _has_login(url: str) -> bool:
    return "://" in url and urlsplit(url).password is not None


def _postgres_addresses(conninfo: dict[str, str]) -> Iterator[Address]:
    hosts = (conninfo.get("hostaddr") or conninfo.get("host") or _SOCKETS).split(",")
    ports = conninfo.get("port", "5432").split(",")
    for number, host in enumerate(hosts):
        port = int(ports[min(number, len(ports) - 1)] or 5432)
        if host.startswith("/"):
            yield Address(os.path.realpath(f"{host}/.s.PGSQL.{port}"), 0)
            yield Address(_HERE, port)  # one server mostly listens on both
        else:
            yield from _resolved(host, port)


def _resolved(host: str, port: int) -> set[Address]:
    """A name that nobody knows stands for itself."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        found = {host.lower()}
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    return {Address(_HERE if one in own or one.startswith("127.") else one, port) for one in found}


def _port_of(url: str, default: int) -> int:
    try:
        return urlsplit(url).port or int(dict(parse_qsl(urlsplit(url).query)).get("port", default))
    except ValueError:
        return default
