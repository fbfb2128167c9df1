"""Conversations that several calls of a run, or of successive runs of a pipeline, continue."""

import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from elexirion_dagster.errors import StorageError
from elexirion_dagster.records import Json, Message, TextBlock
from elexirion_dagster.store.home import Home, check_name, storage_error, sync_folder
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import Replay

FORMAT = 1
"""Format of the lines; a reader refuses a higher one."""
_BYTES_PER_TOKEN = 4
_TOP = re.compile(r"^\w+")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one step added: the turns it asked with and the answer, as (role, text). `id` is `<root run>/<path>`."""

    id: str
    turns: tuple[tuple[str, str], ...]

    @property
    def tokens(self) -> int:
        """An estimate: four bytes of UTF-8 are taken for one token."""
        return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for _, text in self.turns)


class Sessions:
    """The conversations of one root run. Thread-safe.

    The journal is the truth of what this root run saw and said; a conversation of all runs also stands in a file of
    the home, of which this run sees what was there when it first looked. `fixed` pins that for later runs of the same
    root. `steps` are the top-level steps in program order, which is the order of a conversation.
    """

    def __init__(
        self,
        home: Home,
        journal: JournalWriter,
        replay: Replay,
        *,
        pipeline: str,
        root_run: str,
        steps: Sequence[str],
        fixed: Callable[[str, Callable[[], Json]], Json],
    ) -> None:
        self._folder = home.sessions / check_name(pipeline)
        self._journal = journal
        self._replay = replay
        self._root_run = root_run
        self._order = {name: position for position, name in enumerate(steps)}
        self._fixed = fixed
        self._lock = threading.Lock()
        self._own: dict[str, dict[str, Exchange]] | None = None
        self._earlier: dict[str, dict[str, Exchange]] = {}

    def history(self, path: str, session: str, *, lasting: bool, max_tokens: int) -> tuple[Message, ...]:
        """The turns before the call at this path: those it saw first, else the newest that fit into `max_tokens`.

        `lasting` conversations begin with what earlier root runs of the pipeline said.
        """
        with self._lock:
            said = self._said(session, path, lasting=lasting)
            seen = self._replay.seen(path, session, max_tokens)
            if seen is None:
                kept = _newest(list(said.values()), max_tokens)
                where: dict[str, Json] = {"path": path, "session": session, "max_tokens": max_tokens}
                self._journal.append("session", later=True, **where, seen=[one.id for one in kept])  # an intent follows
            else:
                kept = [said[one] for one in seen if one in said]
        return tuple(
            Message("assistant" if role == "assistant" else "user", (TextBlock(text),))
            for exchange in kept
            for role, text in exchange.turns
        )

    def add(self, path: str, session: str, turns: Sequence[tuple[str, str]], *, lasting: bool) -> None:
        """Add what was asked (redacted) and answered at this path; a second time changes nothing."""
        exchange = Exchange(f"{self._root_run}/{path}", tuple(turns))
        with self._lock:
            own = self._of_run(session)
            if own.get(exchange.id) != exchange:
                self._journal.append(
                    "exchange", durable=True, path=path, session=session, turns=[list(turn) for turn in turns]
                )
                own[exchange.id] = exchange
            if lasting:
                _append(self._file(session), exchange)

    def _said(self, session: str, path: str, *, lasting: bool) -> dict[str, Exchange]:
        """Everything that was said before this path spoke, by id, in the order of the conversation."""
        here = f"{self._root_run}/{path}"
        own = [one for one in self._of_run(session).values() if one.id != here]
        own.sort(key=lambda one: self._position(one.id.removeprefix(f"{self._root_run}/")))
        earlier = self._of_earlier_runs(session) if lasting else {}
        return earlier | {one.id: one for one in own}

    def _position(self, path: str) -> int:
        found = _TOP.match(path)
        return self._order.get(found[0], len(self._order)) if found else len(self._order)

    def _of_run(self, session: str) -> dict[str, Exchange]:
        if self._own is None:
            self._own = {}
            for line in self._replay.exchanges():
                exchange = Exchange(f"{self._root_run}/{line['path']}", _turns(line["turns"]))
                self._own.setdefault(line["session"], {})[exchange.id] = exchange
        return self._own.setdefault(session, {})

    def _of_earlier_runs(self, session: str) -> dict[str, Exchange]:
        if session not in self._earlier:
            found = _read(self._file(session))
            count: int = self._fixed(f"session:{session}", lambda: len(found))
            self._earlier[session] = {one.id: one for one in found[:count]}
        return self._earlier[session]

    def _file(self, session: str) -> Path:
        return self._folder / f"{check_name(session)}.jsonl"


def _newest(said: Sequence[Exchange], max_tokens: int) -> list[Exchange]:
    """The newest exchanges that fit, whole ones only, in order."""
    kept: list[Exchange] = []
    left = max_tokens
    for exchange in reversed(said):
        left -= exchange.tokens
        if left < 0:
            break
        kept.insert(0, exchange)
    return kept


def _append(file: Path, exchange: Exchange) -> None:
    """Add a line unless the file says the same of this exchange already."""
    line = {"v": FORMAT, "id": exchange.id, "turns": exchange.turns}
    data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), mode=0o600):
            if {one.id: one for one in _read(file)}.get(exchange.id) == exchange:
                return
            handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                os.write(handle, b"\n" + data if torn else data)
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(file.parent)
    except OSError as error:
        raise storage_error(error, file) from error


def _read(file: Path) -> list[Exchange]:
    """Every whole line, in order; one that a crash tore is none."""
    try:
        raw = file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise storage_error(error, file) from error
    found = (_parsed(line, file) for line in raw.split(b"\n")[:-1])
    return [one for one in found if one is not None]


def _parsed(raw: bytes, file: Path) -> Exchange | None:
    try:
        fields: Mapping[str, Json] = json.loads(raw)
        version, exchange = fields["v"], Exchange(str(fields["id"]), _turns(fields["turns"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if version > FORMAT:
        message = f"{file} holds lines of format {version}; this program knows formats up to {FORMAT}"
        raise StorageError(message, mend="Upgrade elexirion, or set ELEXIRION_HOME to another folder.")
    return exchange


def _turns(value: Json) -> tuple[tuple[str, str], ...]:
    return tuple((str(role), str(text)) for role, text in value)
