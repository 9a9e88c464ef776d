"""Somebody on every node who says its name to whoever connects, and the question who that is at a mesh address."""

# ruff: noqa: T201  (as a command it talks to a terminal)

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.namespace import network_at

PORT = 7
WITHIN = 3.0  # seconds for an answer; a lost first packet is sent again after one
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def network(folder: Path, control_pid: int) -> Path:
    """The network namespace of the node with that folder."""
    holder = (folder / "holder.pid").read_text().strip()
    return Path(f"/proc/{control_pid}/root/proc/{holder}/ns/net")


@contextlib.contextmanager
def answering(networks: dict[str, Path]) -> Iterator[None]:
    """Inside of it each of these nodes answers, at all of its addresses, those it gets later too, with its name."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for label, path in networks.items():
            with network_at(path):
                listeners = [_listener(family) for family in _FAMILIES]
            for listener in map(stack.enter_context, listeners):
                selector.register(listener, selectors.EVENT_READ, label.encode())
        stop, stopped = map(stack.enter_context, socket.socketpair())
        selector.register(stopped, selectors.EVENT_READ)
        thread = threading.Thread(target=_serve, args=(selector,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.close()
            thread.join()


def _listener(family: socket.AddressFamily) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", PORT))
    listener.listen(64)
    return listener


def _serve(selector: selectors.BaseSelector) -> None:
    while True:
        for key, _ in selector.select():
            if key.data is None:
                return
            assert isinstance(key.fileobj, socket.socket)
            # One that has already given up is no reason to answer nobody any more.
            with contextlib.suppress(OSError), key.fileobj.accept()[0] as connection:
                connection.sendall(key.data)


def ask(path: Path, address: str) -> str | None:
    """Who answers at the address when somebody in that network connects; None: nobody does."""
    with network_at(path):
        asking = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    with asking:
        asking.settimeout(WITHIN)
        try:
            asking.connect((address, PORT))
            return asking.makefile().read() or None
        except OSError:
            return None


def ask_from_all(networks: dict[str, Path], address: str) -> dict[str, str | None]:
    """Who answers at the address, by the node that asks."""
    with ThreadPoolExecutor(len(networks)) as pool:
        answers = pool.map(lambda path: ask(path, address), networks.values())
        return dict(zip(networks, answers, strict=True))


def main() -> int:
    """`who-answers ADDRESS`, in a lab's shell: asks from every node. Exit code 1 where not all get one answer."""
    folder, control_pid, *addresses = sys.argv[1:]
    if len(addresses) != 1:
        print("usage: who-answers ADDRESS", file=sys.stderr)
        return 2
    folders = {path.name.removeprefix("node-"): path for path in sorted(Path(folder).glob("node-*"))}
    networks = {label: network(path, int(control_pid)) for label, path in folders.items()}
    answers = ask_from_all(networks, addresses[0])
    for label, name in answers.items():
        print(f"from {label:14} {f'{name} answers' if name else 'nobody answers'}")
    return 0 if len(set(answers.values())) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
