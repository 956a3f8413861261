"""The log of a filtered network: what is read of its lines, and how much of it is kept."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from pyro_mcp.host.network.filter.log import next_index, read_log
from pyro_mcp.host.network.filter.supervisor import KEPT_LOG_FILES, MAX_LOG_FILE_BYTES, SUPERVISE
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

TLS = "tcp 1796094608.493 {verdict} tls 198.51.100.10 443 {name} 1987 13700 {rule} {reason}\n"
LINES = 30_000
# Stands in for the proxy: it is ready at once, and has logged more than is kept.
PROXY = f"""#!{sys.executable}
import os, socket, time
admin = socket.socket(socket.AF_UNIX)
admin.bind("1/admin")
for number in range({LINES}):
    line = f"tcp 1796094608.{{number:06}} refused tcp 198.51.100.10 7777 - 0 0 - address\\n"
    os.write(1, line.encode())
os.write(1, b"mark done\\n")
time.sleep(600)
"""
# The one that may bind to a low port.
RESOLVER = f"""#!{sys.executable}
import socket, time
resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
resolver.bind(("0.0.0.0", 53))
time.sleep(600)
"""


def written(directory: Path, *lines: str) -> None:
    (directory / "log.0").write_text("".join(lines))


def test_what_was_allowed_has_a_rule_and_no_reason(tmp_path: Path) -> None:
    name = b"example.org".hex()
    written(
        tmp_path,
        TLS.format(verdict="allowed", name=name, rule="allow:example.org", reason="host"),
        TLS.format(verdict="refused", name=name, rule="-", reason="host"),
    )
    (allowed, refused), _ = read_log(tmp_path)
    assert (allowed.is_allowed, allowed.host, allowed.rule, allowed.reason) == (
        True,
        "example.org",
        "example.org",
        None,
    )
    assert (refused.is_allowed, refused.host, refused.rule, refused.reason) == (False, "example.org", None, "host")
    assert (allowed.bytes_sent, allowed.bytes_received) == (1987, 13700)


def test_a_line_that_makes_no_sense_hides_no_other(tmp_path: Path) -> None:
    good = TLS.format(verdict="allowed", name="-", rule="-", reason="-")
    written(tmp_path, "tcp\n", "tcp x y z\n", "\x00\xff\n", good.replace("443", "many"), good)
    attempts, _ = read_log(tmp_path)
    assert [each.host for each in attempts] == ["198.51.100.10"]


def test_a_new_start_removes_the_oldest_files_only(tmp_path: Path) -> None:
    for index in range(6):
        (tmp_path / f"log.{index}").write_text("")
    assert next_index(tmp_path) == 6
    assert sorted(os.listdir(tmp_path)) == ["log.4", "log.5"]


def test_however_much_is_tried_the_log_stays_small_and_ends_with_the_newest(tmp_path: Path) -> None:
    control, log, programs = (tmp_path / name for name in ("control", "log", "programs"))
    for made in (control, log, programs, control / "1"):
        made.mkdir()
    for fifo in ("control", "lines", "ready"):
        os.mkfifo(control / fifo)
    (control / "1" / "haproxy.cfg").write_text("")
    (control / "supervise").write_text(SUPERVISE)
    for name, text in (("proxy", PROXY), ("resolver", RESOLVER)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o700)
    words = [str(control / "supervise"), str(control), str(log), "0", "/bin/true"]
    run = ["/bin/sh", *words, str(programs / "resolver"), str(programs / "proxy")]
    # It ends with its namespace of processes, and has ports of its own.
    alone = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    with process.start([*alone, *run], stdin=process.PIPE, stdout=None, stderr=None):
        wait_until(lambda: _last_line(log) == "mark done", timeout_s=60.0, what="the log to be written")
    sizes = [path.stat().st_size for path in log.iterdir()]
    assert len(sizes) == KEPT_LOG_FILES
    assert max(sizes) < MAX_LOG_FILE_BYTES + 1024
    attempts, _ = read_log(log)
    assert sum(sizes) > MAX_LOG_FILE_BYTES
    times = [each.time for each in attempts]
    assert times == sorted(times)
    assert len(times) < LINES


def _last_line(log: Path) -> str:
    names = sorted(os.listdir(log), key=lambda name: int(name.partition(".")[2]))
    if not names:
        return ""
    with closing(open(log / names[-1], "rb")) as file:
        lines = file.read().decode().splitlines()
    return lines[-1] if lines else ""
