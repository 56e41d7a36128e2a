"""lose_a_port.py STATE NAME: bring the stack up while a stranger takes a port right after it was chosen."""

import socket
import sys
from collections.abc import Mapping, Set
from pathlib import Path

from deployments.stack import start
from deployments.stack.ports import choose_ports
from deployments.stack.progress import PlainProgress
from deployments.stack.state import State

strangers: list[socket.socket] = []


def choose_and_lose(names: Set[str], before: Mapping[str, int], in_use: Set[str]) -> dict[str, int]:
    ports = choose_ports(names, before, in_use)
    if not strangers:
        strangers.append(socket.create_server(("127.0.0.1", ports[sys.argv[2]])))
    return ports


def main() -> None:
    vars(start)["choose_ports"] = choose_and_lose
    state = State(Path(sys.argv[1]))
    with state.locked(waiting=lambda: None):
        start.Starter(state, PlainProgress(sys.stdout)).bring_up()


if __name__ == "__main__":
    main()
