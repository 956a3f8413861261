"""A configuration of git is harmless only if every line of it is known to be."""

from __future__ import annotations

import pytest

from pyro_mcp.trees.hooks.git_config import MAX_BYTES, may_run_programs

ORDINARY = b"""\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
; a comment
# another
[remote "origin"]
\turl = https://example.com/a/b.git
\tfetch = +refs/heads/*:refs/remotes/origin/*
[branch "main"]
\tremote = origin
\tmerge = refs/heads/main
[user] name = Somebody
\temail = "a@b"
[remote "ssh"]\r
\turl = git@example.com:a/b.git\r
[remote "path"]
\turl = ../elsewhere
[submodule "x"]
\tactive = true
\turl = ssh://git@example.com/x
"""


def test_an_ordinary_configuration_is_harmless() -> None:
    assert not may_run_programs(ORDINARY)
    assert not may_run_programs(b"")
    assert not may_run_programs(b"\xef\xbb\xbf[core]\n\tbare = true\n")


@pytest.mark.parametrize(
    "line",
    [
        "[core]\n\tfsmonitor = touch /tmp/x",
        "[core]\n\tsshCommand = evil",
        "[core]\n\thooksPath = evil",
        "[core]\n\tpager = evil",
        "[core]\n\teditor = evil",
        "[core]\n\taskPass = evil",
        "[core]\n\tgitProxy = evil",
        "[core]\n\tworktree = /",
        "[core]\n\tattributesFile = evil",
        "[CORE]\n\tFSMonitor = evil",
        "[core] fsmonitor = evil",
        "[core]bare=true\n\tfsmonitor=evil",
        '[filter "x"]\n\tclean = evil',
        '[diff "x"]\n\ttextconv = evil',
        "[diff]\n\texternal = evil",
        '[merge "x"]\n\tdriver = evil',
        "[alias]\n\tst = !evil",
        "[include]\n\tpath = ../evil",
        '[includeIf "gitdir:."]\n\tpath = ../evil',
        "[credential]\n\thelper = evil",
        "[gpg]\n\tprogram = evil",
        "[sequence]\n\teditor = evil",
        '[url "ext::evil"]\n\tinsteadOf = https://',
        '[remote "origin"]\n\turl = ext::sh -c evil',
        '[remote "origin"]\n\turl = evil::x',
        '[remote "origin"]\n\turl = --upload-pack=evil',
        '[remote "origin"]\n\turl = ssh://-oProxyCommand=evil/x',
        '[remote "origin"]\n\tuploadpack = evil',
        '[remote "origin"]\n\tvcs = evil',
        '[submodule "x"]\n\tupdate = !evil',
        "[extensions]\n\tworktreeConfig = true",
        "[core]\n\tbare = false\\\n\tfsmonitor = evil",
        "[core]\n\tbare = \\\n[x]",
        '[core "sub"]\n\tbare = true',
        "[core.sub]\n\tbare = true",
        "bare = true",
        "[core\n\tbare = true",
        "[core]\n\t= true",
        "[core]\n\tbare = true\0",
        "[core]\n\tunheard-of = 1",
    ],
)
def test_whatever_is_not_known_counts_as_harmful(line: str) -> None:
    assert may_run_programs(ORDINARY + line.encode() + b"\n")
    assert may_run_programs(line.encode())


def test_what_is_no_text_or_too_long_counts_as_harmful() -> None:
    assert may_run_programs(b"\xff\xfe")
    assert may_run_programs(b"#" * (MAX_BYTES + 1))
    assert not may_run_programs(b"#" * MAX_BYTES)
