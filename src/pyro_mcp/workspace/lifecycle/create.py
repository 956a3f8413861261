"""Create a workspace: a seeded `/workspace`, its baseline, and a guest with both.

Order: record, disks, machine; nothing is left behind if a step fails. The seed is written to the disk on the host, not
through the guest.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.agent import Flavour
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.image.names import check_name
from pyro_mcp.model.ids import new_workspace_id
from pyro_mcp.model.naming import check_labels
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.vm import BaseImage
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind, SeedInfo, SeedNote, Workspace
from pyro_mcp.state.discard import discard_workspace
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.journal import put_event
from pyro_mcp.state.locks import workspace_lock
from pyro_mcp.state.store import this_process
from pyro_mcp.state.workspace_files import begin_workspace, finish_workspace
from pyro_mcp.trees.surroundings import Surroundings, surroundings_of
from pyro_mcp.vmm.selection import Selection
from pyro_mcp.workspace.certificates import keep_certificates, require_guest
from pyro_mcp.workspace.lifecycle.machine import machine_up, new_vm
from pyro_mcp.workspace.lifecycle.seed import Seeding
from pyro_mcp.workspace.machines.disks import require_space
from pyro_mcp.workspace.machines.images import images_for, keeping_images
from pyro_mcp.workspace.machines.selection import Demands, choose
from pyro_mcp.workspace.machines.spec import StartPlan
from pyro_mcp.workspace.ttl import renewed

if TYPE_CHECKING:
    from pyro_mcp.trees.report import SeedReport
    from pyro_mcp.vmm.selection import Selection
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.lifecycle.spec import WorkspaceSpec
    from pyro_mcp.workspace.machines.images import Images


def create_workspace(engine: Engine, spec: WorkspaceSpec) -> Workspace:
    """Create a workspace and return it, started.

    Raises:
        PyroError: NOT_FOUND for an unknown environment; CONFLICT if the name is taken; any fault of the seed; the
            reason why this host can't run it; NO_SPACE. Nothing is left behind.
    """
    engine.reconcile()
    check_name(spec.environment)
    engine.progress.phase("create", f"environment={spec.environment}")
    choice = choose(engine, Demands(spec.network_policy, spec.allow_host_compat, spec.require_kvm))
    if spec.secrets and not choice.is_guest:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            "secrets need a guest, and none can be booted here",
            hint="On the host every process of this user could read them. `pyro doctor` says what a guest needs.",
        )
    require_guest(spec.ca_certificates, is_guest=choice.is_guest)
    require_space(ensure_private_dir(engine.paths.state))
    images = images_for(engine, spec.environment) if choice.is_guest else None
    workspace = _planned(engine, spec, choice, images)
    with workspace_lock(engine.paths, workspace.id), ExitStack() as failed:
        failed.callback(_discard, engine, workspace)
        return _created(engine, spec, workspace, choice, images, failed)


def _created(
    engine: Engine,
    spec: WorkspaceSpec,
    workspace: Workspace,
    choice: Selection,
    images: Images | None,
    failed: ExitStack,
) -> Workspace:
    vm = new_vm(engine, workspace, choice, images)
    with keeping_images(engine, images):
        engine.store.workspaces.insert(workspace, also=lambda connection: engine.store.vms.insert_in(connection, vm))
    fault_point("ws_create.recorded")
    files = WorkspaceFiles(engine.paths, workspace.id)
    begin_workspace(engine.paths, files, workspace.life)
    if spec.secrets:
        from pyro_mcp.workspace.secrets.keeping import keep_secrets

        keep_secrets(files, spec.secrets)
    keep_certificates(files.certificates, spec.ca_certificates)
    fault_point("ws_create.directories")

    def identified(report: SeedReport) -> Workspace:
        """Make the workspace one that can be identified without the database, before it is reported."""
        seed = _seed_info(spec, report)
        started = replace(workspace, seed=seed, state=WorkspaceState.STARTED, owner=None, vm_id=vm.id)
        finish_workspace(files, renewed(engine.clock, started))
        return started

    with (
        Seeding(engine, spec, files, workspace.life, identified, has_disks=images is not None) as seeding,
        machine_up(
            engine,
            workspace,
            StartPlan(vm, choice, images, Flavour.FRESH),
            life=workspace.life,
            meanwhile=seeding.laid,
        ) as running,
    ):
        started = renewed(engine.clock, seeding.finish())
        event = ReviewEvent(ReviewKind.START, {"environment": workspace.environment, "created": True})
        workspace = engine.store.workspaces.update(
            workspace.id,
            lambda _: started,
            also=lambda connection: (
                running.record(connection),
                put_event(connection, started.id, event, engine.clock),
            ),
            durable=True,
        )
        fault_point("ws_create.started")
    failed.pop_all()
    return workspace


def _discard(engine: Engine, workspace: Workspace) -> None:
    if engine.store.workspaces.find(workspace.id) is not None:
        discard_workspace(engine.store, engine.paths, workspace)


def _planned(engine: Engine, spec: WorkspaceSpec, choice: Selection, images: Images | None) -> Workspace:
    now_s = engine.clock.wall_s()
    return Workspace(
        id=new_workspace_id(),
        name=spec.name,
        labels=check_labels(spec.labels),
        environment=spec.environment,
        base=None if images is None else BaseImage(images.environment.digest, os.fspath(images.environment.base_image)),
        variables={} if images is None else images.environment.variables,
        boot_digest="" if images is None else images.boot.digest,
        shape=spec.shape,
        ttl_s=spec.ttl_s,
        network_policy=spec.network_policy,
        allow_hosts=spec.rules.allow_hosts,
        deny_hosts=spec.rules.deny_hosts,
        allow_host_compat=spec.allow_host_compat,
        require_kvm=spec.require_kvm,
        state=WorkspaceState.CREATING,
        seed=SeedInfo(),
        created_at=now_s,
        last_activity_at=now_s,
        execution_mode=choice.execution_mode,
        isolation=choice.isolation,
        owner=this_process(),
        secrets=tuple(each.source for each in spec.secrets),
        ca_certificates=tuple(each.title for each in spec.ca_certificates),
    )


def _seed_info(spec: WorkspaceSpec, report: SeedReport) -> SeedInfo:
    around = surroundings_of(spec.seed) if isinstance(spec.seed, Path) and spec.seed.is_dir() else Surroundings()
    return SeedInfo(
        mode=report.mode.value,
        seed_path=report.seed_path,
        entry_count=report.entry_count,
        bytes_written=report.bytes_written,
        origin_kind=spec.origin,
        origin_ref=spec.origin_ref,
        skipped=tuple(SeedNote(*note) for note in report.skipped),
        skipped_count=report.skipped_count,
        changed=tuple(SeedNote(*note) for note in report.changed),
        changed_count=report.changed_count,
        host_hooks=tuple((hook.path, hook.digest) for hook in report.host_hooks),
        ignored_count=report.ignored_count,
        ignored_bytes=report.ignored_bytes,
        largest_ignored=tuple(SeedNote(*note) for note in report.largest_ignored),
        notes=report.notes,
        checkout_prefix=around.prefix,
        checkout_rules=around.rules,
    )
