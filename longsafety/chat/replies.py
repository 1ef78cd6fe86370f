"""A journal of a teacher's replies on disk. After a kill no answered prompt is sent again."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from longsafety.errors import DataError


@dataclass(frozen=True, slots=True)
class Reply:
    """A teacher's reply, and the tokens of it and its prompt."""

    text: str
    prompt_tokens: int
    reply_tokens: int


class ReplyCache:
    """Replies by key in ``folder/replies.jsonl``, one line each, append-only.

    A reply is in the file when :meth:`put` returns. Threads and processes may share the file: appending takes a lock,
    and each sees the others' replies. An incomplete last line, from a process that was killed, is dropped.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be made ({error}); set paths.cache to a folder you can write to"
            ) from error
        self.path = folder / "replies.jsonl"
        self._file_lock = FileLock(folder / ".replies.lock")
        self._lock = threading.Lock()
        self._replies: dict[str, Reply] = {}
        self._num_bytes = self._num_lines = 0

    def __len__(self) -> int:
        return len(self._replies)

    def __getitem__(self, key: str) -> Reply:
        return self._replies[key]

    def get(self, key: str) -> Reply | None:
        """The reply, even if another process has just written it. Raises DataError for a line that is no reply."""
        with self._lock:
            if key not in self._replies:
                self._read_new()
            return self._replies.get(key)

    def put(self, key: str, reply: Reply, **about: object) -> None:
        """Appends a reply; ``about`` is for a human reader. Raises DataError if the file cannot be written."""
        record = {
            "key": key,
            **about,
            "prompt_tokens": reply.prompt_tokens,
            "reply_tokens": reply.reply_tokens,
            "text": reply.text,
        }
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock, self._file_lock:
            self._read_new()
            try:
                with self.path.open("r+b" if self.path.exists() else "w+b") as file:
                    file.truncate(self._num_bytes)  # bytes beyond are an incomplete line: we hold the lock
                    file.seek(self._num_bytes)
                    file.write(line)
            except OSError as error:
                raise DataError(f"{self.path}: cannot be written ({error}); free some space") from error
            self._take(line)

    def _read_new(self) -> None:
        """Reads the complete lines that were appended since the last call."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self._num_bytes:  # it was emptied
            self._replies.clear()
            self._num_bytes = self._num_lines = 0
        if size > self._num_bytes:
            with self.path.open("rb") as file:
                file.seek(self._num_bytes)
                data = file.read()
            self._take(data[: data.rfind(b"\n") + 1])

    def _take(self, lines: bytes) -> None:
        for number, line in enumerate(lines.split(b"\n")[:-1], self._num_lines + 1):
            try:
                row = json.loads(line)
                reply = Reply(str(row["text"]), int(row["prompt_tokens"]), int(row["reply_tokens"]))
                self._replies[row["key"]] = reply
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.path}:{number}: not a teacher's reply ({type(error).__name__}: {error}); delete the line"
                ) from error
        self._num_bytes += len(lines)
        self._num_lines += lines.count(b"\n")
