"""Ask an index, from the host, which other hosts its files are on.

Each index is asked once a day for one small file. The answer names hosts only, never addresses, and no credentials are
sent. Without an answer, the hosts of an earlier one count.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urljoin, urlsplit

from pyro_mcp.errors import PyroError
from pyro_mcp.host.json_cache import read_cache, write_cache
from pyro_mcp.host.threads import start_thread
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.workspace.presets.addresses import host_of

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

FILE_NAME = "package-indexes.json"
_DAY_S = 24 * 3600.0
_RETRY_S = 600.0
_FORGOTTEN_S = 30 * _DAY_S
_TIMEOUT_S = 4.0
_READ_TIMEOUT_S = 3.0
_MAX_BYTES = 2 * 1024**2
_MAX_HOSTS = 16
_MAX_REDIRECTS = 5
_MAX_ENTRIES = 256
_PYTHON = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.9, text/html;q=0.8"
_PYTHON_FILES = re.compile(r"""(?:"url"\s*:\s*"|href\s*=\s*["'])([^"'#]+)""")
_NPM_FILES = re.compile(r'"tarball"\s*:\s*"([^"]+)"')
_CARGO_FILES = re.compile(r'"(?:dl|api)"\s*:\s*"([^"]+)"')
_ADDRESS = re.compile(r"[0-9.]+|.*:.*:.*|\[.*")


@dataclass(frozen=True, slots=True)
class Question:
    """An index to be asked: the kind of its client, its address, and for Go the file of a module."""

    kind: str
    address: str
    file: str = ""

    @property
    def key(self) -> str:
        """Return the name of its answer in the cache."""
        return f"{self.kind} {self.address}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The hosts of an index's files, and why it could not be asked this time, or ""."""

    hosts: tuple[str, ...] = ()
    failure: str = ""


def ask_indexes(
    cache: Path, questions: Sequence[Question], now: float, *, timeout_s: float = _TIMEOUT_S
) -> dict[Question, Answer]:
    """Return the answer to each question, from the cache directory if it is of today, and remember new ones."""
    path = cache / FILE_NAME
    known = read_cache(path)
    answers: dict[Question, Answer] = {}
    open_questions: list[Question] = []
    for question in dict.fromkeys(questions):
        asked_at, answer = _remembered(known.get(question.key))
        # A clock that was set back must not keep an answer for ever.
        if 0 <= now - asked_at < (_RETRY_S if answer.failure else _DAY_S):
            answers[question] = answer
        else:
            open_questions.append(question)
            answers[question] = Answer(answer.hosts, "it gave no answer in time")
    if not open_questions:
        return answers
    for question, answer in _ask_all(open_questions, timeout_s).items():
        answers[question] = Answer(answers[question].hosts, answer.failure) if answer.failure else answer
    kept = {key: entry for key, entry in known.items() if now - _remembered(entry)[0] < _FORGOTTEN_S}
    for question in open_questions:
        answer = answers[question]
        kept.pop(question.key, None)
        kept[question.key] = {"at": now, "hosts": list(answer.hosts), "failure": answer.failure}
    write_cache(path, dict(list(kept.items())[-_MAX_ENTRIES:]))
    return answers


def _remembered(entry: object) -> tuple[float, Answer]:
    if not isinstance(entry, dict):
        return float("-inf"), Answer()
    found = cast("Mapping[str, object]", entry)
    at, hosts, failure = found.get("at"), found.get("hosts"), found.get("failure")
    if not isinstance(at, (int, float)) or not isinstance(hosts, list) or not isinstance(failure, str):
        return float("-inf"), Answer()
    names = [host for host in cast("list[object]", hosts) if isinstance(host, str) and _is_name(host)]
    return at, Answer(tuple(names[:_MAX_HOSTS]), failure)


def _ask_all(questions: Sequence[Question], timeout_s: float) -> dict[Question, Answer]:
    """Ask all at once. What has no answer in time is missing from the result."""
    answers: dict[Question, Answer] = {}
    deadline = Deadline(timeout_s, "the package indexes to answer")
    # Daemons: a resolver without a network may hold one for longer than this process lives.
    threads = [
        threading.Thread(target=_ask_into, args=(answers, question, deadline), name=f"ask {question.key}", daemon=True)
        for question in questions
    ]
    for thread in threads:
        try:
            start_thread(thread)
        except PyroError:
            break
    for thread in threads:
        if thread.ident is not None:
            thread.join(deadline.remaining_s())
    # Copied, since a thread that comes late still writes.
    return dict(answers)


def _ask_into(answers: dict[Question, Answer], question: Question, deadline: Deadline) -> None:
    from http.client import HTTPException
    from urllib.error import HTTPError

    trace: list[str] = []
    try:
        _ASKERS[question.kind](question, _Web(deadline, trace))
    except (OSError, ValueError, HTTPException, PyroError) as error:
        answers[question] = Answer(failure=_reason(error))
        if isinstance(error, HTTPError):
            error.close()
        return
    hosts = dict.fromkeys(host for address in trace if _is_name(host := host_of(address)))
    hosts.pop(host_of(question.address), None)
    answers[question] = Answer(tuple(hosts)[:_MAX_HOSTS])


def _reason(error: Exception) -> str:
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        return f"it answers with HTTP status {error.code}"
    reason = error.reason if isinstance(error, URLError) else error
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return " ".join(str(text).split())[:200]


def _is_name(host: str) -> bool:
    """Return whether an index may open this host: a name; addresses and wildcards are for people to allow."""
    return bool(host) and "*" not in host and _ADDRESS.fullmatch(host.rpartition(":")[0] or host) is None


class _Web:
    """Fetches with limits, and notes in `trace` all addresses that were named on the way."""

    def __init__(self, deadline: Deadline, trace: list[str]) -> None:
        self._deadline, self.trace = deadline, trace

    def get(self, address: str, accept: str = "application/json") -> str:
        """Return the beginning of a document."""
        return self._open("GET", address, accept).decode("utf-8", "replace")

    def follow(self, address: str) -> None:
        """Note to which hosts a file's address leads, without fetching the file."""
        self._open("HEAD", address, "*/*")

    def _open(self, method: str, address: str, accept: str) -> bytes:
        from urllib.request import Request

        if urlsplit(address).scheme not in {"http", "https"}:
            raise ValueError("it is not an HTTP address")
        self._deadline.check()
        request = Request(address, method=method, headers={"Accept": accept, "User-Agent": "pyro-mcp"})  # noqa: S310
        parts: list[bytes] = []
        room = _MAX_BYTES
        with _opener(self.trace).open(request, timeout=_READ_TIMEOUT_S) as answer:
            while room > 0 and (part := answer.read1(min(room, 65536))):
                parts.append(part)
                room -= len(part)
                self._deadline.check()
        return b"".join(parts)


def _opener(trace: list[str]) -> OpenerDirector:
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Redirects(HTTPRedirectHandler):
        """Follows a few redirections to hosts that can be reached from outside, and notes them."""

        max_redirections = _MAX_REDIRECTS

        def redirect_request(
            self, req: Request, fp: object, code: int, msg: str, headers: object, newurl: str
        ) -> Request | None:
            del fp, code, msg, headers
            if not _is_name(host_of(newurl)):
                raise ValueError("it leads to an address that is not a public name")
            trace.append(newurl)
            return Request(  # noqa: S310 - urllib follows to HTTP and FTP only, and host_of is asked before
                newurl, method=req.get_method(), headers=dict(req.header_items()), origin_req_host=req.host
            )

    return build_opener(Redirects)


def _ask_python(question: Question, web: _Web) -> None:
    page = urljoin(question.address.rstrip("/") + "/", "pip/")
    files = [urljoin(page, found) for found in _PYTHON_FILES.findall(web.get(page, _PYTHON))]
    web.trace += files
    _follow_one(web, files[-1:])


def _ask_npm(question: Question, web: _Web) -> None:
    found = _NPM_FILES.findall(web.get(urljoin(question.address.rstrip("/") + "/", "npm/latest")))
    _follow_one(web, found)


def _follow_one(web: _Web, files: Sequence[str]) -> None:
    """Note where a file's address leads. Its own host is known even if that fails."""
    from http.client import HTTPException
    from urllib.error import HTTPError

    web.trace += files[:1]
    for address in files[:1]:
        try:
            web.follow(address)
        except HTTPError as error:
            error.close()
        except (OSError, ValueError, HTTPException, PyroError):
            return


def _ask_cargo(question: Question, web: _Web) -> None:
    web.trace += _CARGO_FILES.findall(web.get(urljoin(question.address.rstrip("/") + "/", "config.json")))


def _ask_go(question: Question, web: _Web) -> None:
    if question.file:
        web.follow(urljoin(question.address.rstrip("/") + "/", question.file))


_ASKERS: Mapping[str, Callable[[Question, _Web], None]] = {
    "pypi": _ask_python,
    "npm": _ask_npm,
    "cargo": _ask_cargo,
    "golang": _ask_go,
}
