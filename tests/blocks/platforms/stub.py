"""The web service that the contract deploys: the standard library only.

/ its version · /health · /hold answers after /let-go was called · /held how many came there
/variable/NAME · /neighbour/NAME what answers there · /replica its own mark · /die · POST /echo
/headers what arrived, and at which target
"""

import json
import os
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

let_go = threading.Event()
held: list[threading.Thread] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes

    def do_GET(self) -> None:
        match self.path.partition("?")[0].strip("/").split("/"):
            case ["die"]:
                os._exit(3)
            case ["hold"]:
                held.append(threading.current_thread())
                let_go.wait(30)
                self._answer(VERSION)
            case ["let-go"]:
                let_go.set()
                self._answer("")
            case ["held"]:
                self._answer(str(len(held)))
            case ["neighbour", name]:
                with urllib.request.urlopen(f"http://{name}:{os.environ['PORT']}/", timeout=5) as answer:
                    self._answer(answer.read().decode())
            case ["replica"]:
                self._answer(REPLICA)
            case ["variable", name]:
                self._answer(os.environ.get(name, ""))
            case ["headers"]:
                self._answer(json.dumps([("target", self.path), *self.headers.items()]))
            case ["long"]:
                self._stream()
            case _:
                self._answer(VERSION)

    def do_POST(self) -> None:
        self._answer(self._body().decode())

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _stream(self) -> None:
        """The first part at once, the second after /let-go."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        let_go.wait(30)
        self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: what it said of a probe that hung up would push its first lines out of its log."""


REPLICA = os.urandom(4).hex()
VERSION = Path("VERSION").read_text().strip()

if __name__ == "__main__":
    print("starting", VERSION)
    if "broken" in VERSION:
        raise SystemExit("the settings are incomplete")
    print("listening on", os.environ["PORT"])
    Server((os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()
