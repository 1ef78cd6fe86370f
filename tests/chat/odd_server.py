"""A server on loopback whose every response a test writes, byte by byte."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = tuple[int, Mapping[str, str], bytes] | None
"""Status, headers and body; a ``Content-Length`` among the headers counts, also a wrong one; ``None``: a reset."""


class OddServer:
    """Answers ``say(body, number)``, ``number`` from 1."""

    def __init__(self, say: Callable[[dict[str, Any], int], Said]) -> None:
        self.say, self.url = say, ""
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.bodies.append(body)
            self.paths.append(handler.path)
            number = len(self.bodies)
        said = self.say(body, number)
        if said is None:
            handler.close_connection = True
            handler.connection.close()
            return
        status, headers, data = said
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True


@contextmanager
def serving(say: Callable[[dict[str, Any], int], Said]) -> Iterator[OddServer]:
    server = OddServer(say)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """A client that has hung up."""

    listener = Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    listener.shutdown()
    listener.server_close()


def as_json(value: Any, status: int = 200, **headers: str) -> Said:
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(value).encode()


def error(status: int, message: str, **more: Any) -> Said:
    return as_json({"error": {"message": message, **more}}, status)


def completion(content: Any, finish: Any = "stop", *, logprobs: Any = None, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "1", "object": "chat.completion", "choices": [choice | {"logprobs": logprobs}], "usage": usage}


def streamed(parts: Sequence[Any], *, end: str = "data: [DONE]\n\n") -> Said:
    text = "".join(f": waiting\n\ndata: {json.dumps(part)}\n\n" for part in parts) + end
    return 200, {"Content-Type": "text/event-stream"}, text.encode()
