"""A small OpenAI-compatible server on loopback, which a test scripts."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeServer:
    """Answers ``reply(prompt)``; fails the first ``failures`` times; hangs up for good after ``dies_after`` answers."""

    def __init__(self) -> None:
        self.reply: Callable[[str], str] = lambda prompt: f"reply to {prompt}"
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.failures = 0
        self.status = 500
        self.dies_after: int | None = None
        self.usage: dict[str, int] | None = {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40}
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        with self.lock:
            self.asked[prompt] += 1
            self.bodies.append(body)
            self.keys.add(handler.headers["Authorization"])
            failing = self.failures > 0
            self.failures -= failing
            dead = self.dies_after is not None and self.answered.total() >= self.dies_after
            if not dead and not failing:
                self.answered[prompt] += 1
        if dead:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
            handler.close_connection = True
            return
        message = {"role": "assistant", "content": self.reply(prompt)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        content = {"error": {"message": "broken today"}} if failing else completion | {"usage": self.usage}
        data = json.dumps(content).encode()
        handler.send_response(self.status if failing else 200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@contextmanager
def serving(server: FakeServer) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield
    listener.shutdown()
    listener.server_close()
