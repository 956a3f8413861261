"""The end of a console: what an error quotes of it."""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.host.console import console_end


def test_the_vmms_warnings_are_left_out_and_the_machines_words_stay(tmp_path: Path) -> None:
    console = tmp_path / "console"
    warning = "/usr/bin/qemu-system-x86_64: warning: nic virtio-net-device.0 has no peer\n"
    console.write_text(f"{warning}first\r\nnfs: warning: slow\n{warning}Kernel panic\r\n\n")
    assert console_end(console, 4096) == "first\nnfs: warning: slow\nKernel panic"
    assert console_end(console, 20) == "Kernel panic"
    fd = os.open(console, os.O_RDONLY)
    assert console_end(fd, 4096).endswith("Kernel panic")
    os.close(fd)
    assert console_end(tmp_path / "none", 4096) == ""
