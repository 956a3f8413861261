"""Records of a workspace's services: a small file for each, in the directory of their VM, removed with it.

Also ends the processes that forward published ports.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from pyro_mcp.errors import PyroError, os_errors
from pyro_mcp.host import process
from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.host.process.identity import ProcessIdentity, boot_id
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.model.service import Service
from pyro_mcp.state.filenames import VmFiles

_SUFFIX = ".json"
_LOCK = "lock"
_LOCK_TIMEOUT_S = 10.0
_MAX_RECORD_BYTES = 4 * 1024 * 1024


class ServiceRecords:
    """The services of one VM."""

    def __init__(self, files: VmFiles) -> None:
        self._directory = files.services

    def all(self) -> list[Service]:
        """Return all services, in the order of their start."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        found = [self.find(name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX)]
        return sorted((each for each in found if each is not None), key=lambda each: (each.started_at, each.name))

    def find(self, name: str) -> Service | None:
        """Return a service, or None if it does not exist or its record is damaged."""
        try:
            with open(self._path(name), "rb") as file:
                return from_json(Service, json.loads(file.read(_MAX_RECORD_BYTES)))
        except (FileNotFoundError, ValueError, RecursionError, PyroError):
            return None

    def put(self, service: Service) -> None:
        """Record a service, replacing any with the same name.

        Raises:
            PyroError: NO_SPACE, PERMISSION.
        """
        ensure_private_dir(self._directory)
        path = self._path(service.name)
        fresh = path.with_suffix(".new")
        # Not synced: after a crash of the host, its VM is no longer running.
        with os_errors(f"record the service {service.name}"):
            fresh.write_bytes(json.dumps(to_json(service)).encode())
            os.replace(fresh, path)

    def update(self, name: str, run: str, change: Callable[[Service], Service]) -> Service | None:
        """Apply `change` to a record if it is still the same run; return the current record.

        Raises:
            PyroError: NO_SPACE, PERMISSION, BUSY.
        """
        if not self._directory.exists():
            return None
        with self.locked():
            before = self.find(name)
            if before is None or before.run != run:
                return before
            after = change(before)
            if after != before:
                self.put(after)
            return after

    def forget(self, name: str) -> None:
        """Remove the record of a service. The caller holds the lock."""
        self._path(name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Lock the records against changes by other processes.

        Raises:
            PyroError: BUSY, TIMEOUT.
        """
        ensure_private_dir(self._directory)
        with file_lock(self._directory / _LOCK, timeout_s=_LOCK_TIMEOUT_S, waiting_for="the records of services"):
            yield

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"


def end_publishers(files: VmFiles) -> None:
    """End the processes that forward published ports of a VM's services.

    Raises:
        PyroError: TIMEOUT if one survives SIGKILL.
    """
    for service in ServiceRecords(files).all():
        end_publisher(service)


def end_publisher(service: Service) -> None:
    """End the process that forwards a service's published ports, if there is one.

    Raises:
        PyroError: TIMEOUT if it survives SIGKILL.
    """
    publisher = service.publisher
    if publisher is not None and publisher.boot_id == boot_id():
        process.kill(publisher.pid, publisher.start_time)


def is_published(service: Service) -> bool:
    """Return whether the process that forwards a service's ports is running."""
    publisher = service.publisher
    return (
        publisher is not None and ProcessIdentity(publisher.pid, publisher.start_time, publisher.boot_id).is_running()
    )
