"""The class `Pyro`: every operation as a typed method.

Names, parameters and defaults are public. A `Pyro` keeps no state: threads may share it, and any process can use what
another one created.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.model.limits import ONE_SHOT_TIMEOUT_S
from pyro_mcp.operations.runner import Runner
from pyro_mcp.sdk.workspace import NewWorkspace, Operations, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Self, Unpack

    from pyro_mcp import PyroServer
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.operations.diagnosis import DoctorResult, PrepareResult
    from pyro_mcp.operations.environments import EnvInspectResult, Environment, EnvPruneResult, EnvPullResult
    from pyro_mcp.operations.network import NetworkPresetsResult
    from pyro_mcp.operations.run import VmExecResult
    from pyro_mcp.operations.vms import (
        VmDeleteResult,
        VmListResult,
        VmNetworkInfoResult,
        VmReapExpiredResult,
        VmResult,
    )
    from pyro_mcp.sdk.calling import ProgressEvent, Stdin


def _refuse_other(manager: object, backend_name: str | None) -> None:
    if manager is not None:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            "a manager can't be given: there is no VmManager since version 5",
            hint="Give base_dir and cache_dir to Pyro instead.",
        )
    if backend_name not in {None, "firecracker"}:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"there is no backend {backend_name!r}",
            hint="Leave backend_name out: the VMM is chosen by what this host has.",
        )


def _directory(given: str | PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given).expanduser()


class Pyro(Operations):
    """Workspaces and disposable virtual machines.

    Methods raise `PyroError` (code, message, hint) on failure. Results are dictionaries whose keys are attributes too:
    `result["stdout"]`, `result.stdout`, `json.dumps(result)`. `progress` is called with a
    `ProgressEvent` (phase, message, fraction) during long operations, or is an object with the methods of `Progress`.

    `base_dir` is the state directory and `cache_dir` that of images, both by default as for the command line.
    `backend_name` and `max_active_vms` are arguments of earlier versions and have no effect.

    Example: `print(Pyro(progress=print).run_in_vm("debian:12", "uname -a").stdout)`
    """

    def __init__(
        self,
        manager: None = None,
        *,
        base_dir: str | PathLike[str] | None = None,
        cache_dir: str | PathLike[str] | None = None,
        backend_name: str | None = None,
        max_active_vms: int | None = None,
        paths: Paths | None = None,
        progress: Progress | Callable[[ProgressEvent], object] | None = None,
        runner: Runner | None = None,
    ) -> None:
        del max_active_vms
        _refuse_other(manager, backend_name)
        if base_dir is not None or cache_dir is not None:
            if paths is not None or runner is not None:
                raise PyroError(
                    ErrorCode.INVALID, "base_dir and cache_dir can't be given together with paths or runner"
                )
            paths = Paths.below(state=_directory(base_dir), cache=_directory(cache_dir))
        super().__init__(Runner(paths) if runner is None else runner, progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close. Workspaces and VMs stay until they are deleted or expire: others may use them.

        Example: `pyro.close()`
        """

    def create_server(
        self,
        *,
        profile: str | None = None,
        mode: str | None = None,
        environment: str | None = None,
        network_policy: str | None = None,
        allow_hosts: Iterable[str] = (),
        deny_hosts: Iterable[str] = (),
        allow_paths: Iterable[str | PathLike[str]] = (),
        ca_files: Iterable[str | PathLike[str]] = (),
        project_path: str | PathLike[str] | None = None,
        repo_url: str | None = None,
        repo_ref: str | None = None,
        no_project_source: bool = False,
    ) -> PyroServer:
        """Make an MCP server that shows the tools of a profile (default: workspace-core) and uses this `Pyro`.

        Example: `pyro.create_server(profile="workspace-full")`
        """
        import pyro_mcp

        return pyro_mcp.create_server(
            self, profile=profile, mode=mode, environment=environment, network_policy=network_policy,
            allow_hosts=allow_hosts, deny_hosts=deny_hosts, allow_paths=allow_paths, ca_files=ca_files,
            project_path=project_path, repo_url=repo_url, repo_ref=repo_ref, no_project_source=no_project_source,
        )  # fmt: skip

    def workspace(
        self,
        environment: str = "debian:12",
        *,
        id: str | None = None,  # noqa: A002 - reads as it is meant
        keep: bool | None = None,
        **options: Unpack[NewWorkspace],
    ) -> Workspace:
        """Return a workspace as an object: a new one with the options of `create_workspace`, or the existing one `id`.

        As a context manager, it is deleted at the end unless `keep`; an existing one is kept unless `keep=False`.

        Example: `with pyro.workspace("debian:12", seed_path=".") as workspace: workspace.exec("make test")`
        """
        if id is None:
            created = self.create_workspace(environment, **options)
            return Workspace(self, created.workspace_id, keep=keep is True)
        if options:
            raise PyroError(ErrorCode.INVALID, f"{', '.join(options)} can't be given for an existing workspace")
        return Workspace(self, self.status_workspace(id).workspace_id, keep=keep is not False)

    def list_environments(self) -> list[Environment]:
        """List the environments, and whether they are installed.

        Example: `[each.name for each in pyro.list_environments() if each.state == "installed"]`
        """
        return self._run("env list").environments

    def pull_environment(self, environment: str, *, force: bool = False) -> EnvPullResult:
        """Install an environment into the local cache.

        Example: `pyro.pull_environment("debian:12")`
        """
        return self._run("env pull", locals())

    def inspect_environment(self, environment: str) -> EnvInspectResult:
        """Show an environment in detail.

        Example: `pyro.inspect_environment("debian:12").digest`
        """
        return self._run("env inspect", locals())

    def prune_environments(self) -> EnvPruneResult:
        """Remove installs and templates that no catalog entry or VM needs.

        Example: `pyro.prune_environments()`
        """
        return self._run("env prune")

    def network_presets(self, environment: str = "debian:12") -> NetworkPresetsResult:
        """Show the hosts of the network policy `packages`, and where each is written.

        Example: `[each.host for each in pyro.network_presets("debian:12").hosts]`
        """
        return self._run("network presets", locals())

    def run_in_vm(
        self,
        environment: str,
        command: str | Sequence[str],
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        timeout_seconds: float | None = ONE_SHOT_TIMEOUT_S,
        ttl_seconds: int = 600,
        network: bool = False,
        allow_host_compat: bool = False,
        require_kvm: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str = "/workspace",
        user: str | None = None,
        stdin: Stdin | None = None,
        merge_stderr: bool = False,
        max_output_bytes: int = 1048576,
        keep: str = "ends",
        network_policy: str | None = None,
        allow_hosts: Sequence[str] | None = None,
        deny_hosts: Sequence[str] | None = None,
        ca_files: Sequence[str | PathLike[str]] | None = None,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> VmExecResult:
        """Run one command in a fresh VM, and delete the VM. A string is run by the shell, a list without one.

        Example: `pyro.run_in_vm("debian:12", ["python3", "-c", "print(6 * 7)"]).stdout`
        """
        return self._run("run", locals())

    def create_vm(
        self,
        environment: str,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 600,
        network: bool = False,
        allow_host_compat: bool = False,
        *,
        require_kvm: bool = False,
        network_policy: str | None = None,
        allow_hosts: Sequence[str] | None = None,
        deny_hosts: Sequence[str] | None = None,
        ca_files: Sequence[str | PathLike[str]] | None = None,
    ) -> VmResult:
        """Create a VM without starting it.

        Example: `pyro.create_vm("debian:12", mem_mib=2048).vm_id`
        """
        return self._run("vm create", locals())

    def start_vm(self, vm_id: str) -> VmResult:
        """Start a VM that was created or stopped.

        Example: `pyro.start_vm(vm_id)`
        """
        return self._run("vm start", locals())

    def exec_vm(
        self,
        vm_id: str,
        *,
        command: str | Sequence[str],
        timeout_seconds: float | None = 30,
        env: Mapping[str, str] | None = None,
        cwd: str = "/workspace",
        user: str | None = None,
        stdin: Stdin | None = None,
        merge_stderr: bool = False,
        max_output_bytes: int = 1048576,
        keep: str = "ends",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> VmExecResult:
        """Run one command in a VM, then delete the VM.

        Example: `pyro.exec_vm(vm_id, command="uname -a").stdout`
        """
        return self._run("vm exec", locals())

    def stop_vm(self, vm_id: str) -> VmResult:
        """Stop a VM and keep its disk.

        Example: `pyro.stop_vm(vm_id)`
        """
        return self._run("vm stop", locals())

    def delete_vm(self, vm_id: str) -> VmDeleteResult:
        """Delete a VM and its disk.

        Example: `pyro.delete_vm(vm_id)`
        """
        return self._run("vm delete", locals())

    def status_vm(self, vm_id: str) -> VmResult:
        """Show a VM's state.

        Example: `pyro.status_vm(vm_id).state`
        """
        return self._run("vm status", locals())

    def list_vms(self) -> VmListResult:
        """List VMs, newest first.

        Example: `[each.vm_id for each in pyro.list_vms().vms]`
        """
        return self._run("vm list")

    def network_info_vm(self, vm_id: str) -> VmNetworkInfoResult:
        """Show a VM's network policy and addresses.

        Example: `pyro.network_info_vm(vm_id).network_enabled`
        """
        return self._run("vm network-info", locals())

    def reap_expired(self) -> VmReapExpiredResult:
        """Delete expired VMs.

        Example: `pyro.reap_expired().vm_ids`
        """
        return self._run("vm reap-expired")

    def doctor(self, *, environment: str = "debian:12", platform: str | None = None) -> DoctorResult:
        """Report what this machine can do, its problems, and how to fix them.

        Example: `pyro.doctor(environment="debian:12")`
        """
        return self._run("doctor", locals())

    def prepare(self, environment: str = "debian:12", *, network: bool = False, force: bool = False) -> PrepareResult:
        """Install an environment, prepare a fast start of the next VM, and prove it by running one.

        Example: `pyro.prepare("debian:12")`
        """
        return self._run("prepare", locals())

    def demo(self, *, network: bool = False) -> VmExecResult:
        """Run a command in a fresh VM; with `network`, one that fetches a page.

        Example: `pyro.demo(network=True)`
        """
        return self._run("demo", locals())
