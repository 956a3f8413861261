"""A client for the OpenAI-compatible API of Ollama: one chat completion at a time, with tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from pyro_mcp.errors import ErrorCode, PyroError

_PORT = 11434
_PORTS = {"http": 80, "https": 443}
# A model may have to be read from the disk first, and a processor without a GPU may compute it.
ANSWER_TIMEOUT_S = 900
_NOT_FOUND, _BAD_REQUEST = 404, 400

Document = dict[str, Any]


def base_url_of(given: str | None, variables: Mapping[str, str]) -> str:
    """Return the address of the API: `given`, else OLLAMA_HOST, else Ollama's own default.

    Both are read as Ollama reads OLLAMA_HOST: a host, HOST:PORT or a URL, without scheme at port 11434.

    Raises:
        PyroError: INVALID if it is no such address.
    """
    text = (given or variables.get("OLLAMA_HOST", "")).strip().strip("\"'")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    address, _, path = rest.partition("/")
    if address.count(":") > 1 and "[" not in address:
        address = f"[{address}]"
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        host, port = "", None
    if not host or scheme not in _PORTS or "@" in address or any(mark in text for mark in "?# "):
        raise PyroError(
            ErrorCode.INVALID,
            f"{text[:200]!r} is no address of Ollama",
            hint="Give `--base-url`, or OLLAMA_HOST, as HOST, HOST:PORT or http://HOST:PORT/v1.",
        )
    if port is None:
        port = _PORTS[scheme] if separator else _PORT
    path = path.strip("/")
    if path.rpartition("/")[2] != "v1":
        path = f"{path}/v1".lstrip("/")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{path}"


class Ollama:
    """The API at an address."""

    def __init__(self, base_url: str, api_key: str = "") -> None:
        self.base_url = base_url
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        # As Ollama's own client: a proxy is not asked for this machine.
        self._opener = build_opener(ProxyHandler({}) if _is_here(base_url) else ProxyHandler())

    def message(self, model: str, messages: list[Document], tools: list[Document]) -> Document:
        """Ask a model for the next message of a conversation, and return it.

        Raises:
            PyroError: UNAVAILABLE if nothing answers, TIMEOUT if the model takes too long, NOT_FOUND if there is
                no such model, UNSUPPORTED if it takes no tools, PROTOCOL for an answer that is no chat completion.
        """
        asked = {"model": model, "messages": messages, "tools": tools, "temperature": 0, "stream": False}
        request = Request(  # noqa: S310 - base_url_of lets http and https pass only
            f"{self.base_url}/chat/completions", json.dumps(asked).encode(), self._headers
        )
        try:
            with self._opener.open(request, timeout=ANSWER_TIMEOUT_S) as response:
                answer = response.read()
        except HTTPError as error:
            with error:
                raise self._refusal(model, error.code, error.read()) from None
        except TimeoutError:
            raise PyroError(
                ErrorCode.TIMEOUT,
                f"the model {model!r} has not answered within {ANSWER_TIMEOUT_S:g} seconds",
                hint="Give a smaller one with `--model`, or see with `ollama ps` what runs.",
            ) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise PyroError(
                ErrorCode.UNAVAILABLE,
                f"Ollama does not answer at {self.base_url}: {reason}",
                hint="Start it with `ollama serve`, or give its address with `--base-url` or OLLAMA_HOST.",
            ) from None
        try:
            return cast("Document", dict(json.loads(answer)["choices"][0]["message"]))
        except (ValueError, LookupError, TypeError):
            raise self._foreign("its answer is no chat completion") from None

    def _refusal(self, model: str, status: int, answer: bytes) -> PyroError:
        try:
            message = str(json.loads(answer)["error"]["message"])
        except (ValueError, LookupError, TypeError):
            return self._foreign(f"HTTP status {status}")
        if status == _NOT_FOUND:
            return PyroError(
                ErrorCode.NOT_FOUND,
                f"Ollama has no model {model!r}",
                hint=f"Pull it with `ollama pull {model}`, or give one of `ollama list` with `--model`.",
            )
        if status == _BAD_REQUEST and "does not support tools" in message:
            return PyroError(
                ErrorCode.UNSUPPORTED,
                f"the model {model!r} does not support tools",
                hint="Give one that does with `--model`, for example llama3.2:3b.",
            )
        return PyroError(
            ErrorCode.UNAVAILABLE,
            f"Ollama refused the request with status {status}: {message[:500]}",
            hint="The log of `ollama serve` may say more.",
        )

    def _foreign(self, reason: str) -> PyroError:
        return PyroError(
            ErrorCode.PROTOCOL,
            f"there is no OpenAI-compatible API at {self.base_url}: {reason}",
            hint="Give the address of Ollama with `--base-url` or OLLAMA_HOST.",
        )


def _is_here(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
