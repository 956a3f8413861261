"""What package clients are set to use is read from made-up trees, as from an environment and from a host."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.workspace.presets.clients import PresetHost, collect
from pyro_mcp.workspace.presets.git import remote_hosts
from pyro_mcp.workspace.presets.java import in_super_pom
from pyro_mcp.workspace.presets.places import HostPlace
from tests.support.thorough import examples

if TYPE_CHECKING:
    from pathlib import Path

PIP = "/usr/lib/python3/dist-packages/pip/_internal/models/index.py"
NPM = "/usr/lib/node_modules/npm/node_modules"
DEFINITIONS = f"{NPM}/@npmcli/config/lib/definitions/definitions.js"
CFG = "/usr/lib/go-1.19/src/cmd/go/internal/cfg/cfg.go"
SETTINGS = "/root/.m2/settings.xml"
PIP_TEXT = 'PyPI = PackageIndex("https://index.example.org/", file_storage_domain="files.example.org")\n'


class Tree:
    """A made-up root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str | bytes, *, mode: int = 0o644) -> Tree:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        target.chmod(mode)
        return self

    def place(self, label: str = "on the host", **variables: str) -> HostPlace:
        place = HostPlace({"HOME": "/root", "PATH": "/usr/bin", **variables}, self.root)
        place.label = label
        return place


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


def found(client: str, *places: HostPlace) -> list[str]:
    return [host.host for host in collect(places).hosts if host.client == client]


def known(client: str, tmp_path: Path) -> list[str]:
    """Return what is used for a client that is nowhere."""
    return found(client, Tree(tmp_path / "nothing").place())


def test_apt_repositories_of_both_formats_count(tree: Tree) -> None:
    tree.write(
        "/etc/apt/sources.list",
        "# deb http://comment.example.org/ x main\n"
        "deb [signed-by=/usr/share/a.gpg arch=amd64] http://one.example.org/debian stable main\n"
        "deb-src https://user:pass@two.example.org:8443/debian stable main\n",
    )
    tree.write("/etc/apt/sources.list.d/x.list.disabled", "deb http://disabled.example.org/ x main\n")
    tree.write("/etc/apt/sources.list.d/x.list", "deb mirror+file:/etc/apt/mirrors.txt x main\n")
    tree.write("/etc/apt/mirrors.txt", "# comment\nhttps://three.example.org/debian\tpriority:1\n")
    tree.write(
        "/etc/apt/sources.list.d/y.sources",
        "Types: deb\n# URIs: http://comment.example.org\nURIs: https://four.example.org/a\n https://five.example.org/b\n"
        "Suites: x\n\nEnabled: no\nURIs: https://off.example.org/\n",
    )

    assert found("apt", tree.place()) == [
        "one.example.org", "two.example.org:8443", "three.example.org", "four.example.org", "five.example.org",
    ]  # fmt: skip


def test_the_source_names_client_file_and_place(tree: Tree) -> None:
    tree.write("/etc/apt/sources.list", "deb http://one.example.org/debian stable main\n")

    hosts = collect([tree.place("in the environment")]).hosts

    assert hosts[0] == PresetHost("one.example.org", "apt: /etc/apt/sources.list in the environment", "apt")


def test_the_default_of_pip_is_in_its_own_files(tree: Tree) -> None:
    tree.write(PIP, PIP_TEXT)

    assert found("pip", tree.place()) == ["index.example.org", "files.example.org"]
    assert [index.address for index in collect([tree.place()]).indexes if index.client == "pip"] == [
        "https://index.example.org/simple/"
    ]


@pytest.mark.parametrize(
    "path", ["/etc/pip.conf", "/root/.pip/pip.conf", "/root/.config/pip/pip.conf", "/etc/xdg/pip/pip.conf"]
)
def test_an_index_in_pips_configuration_replaces_the_default(tree: Tree, path: str) -> None:
    tree.write(PIP, PIP_TEXT)
    tree.write(
        path,
        "[global]\nindex-url = https://u:p@mirror.example.org/simple\nextra_index_url =\n  https://a.example.org/\n",
    )

    assert found("pip", tree.place()) == ["mirror.example.org", "a.example.org"]
    assert "u:p" not in repr(collect([tree.place()]))


def test_an_extra_index_leaves_the_default(tree: Tree) -> None:
    tree.write(PIP, PIP_TEXT).write("/etc/pip.conf", "[install]\nfind-links = /wheels https://wheels.example.org/x\n")

    assert found("pip", tree.place()) == ["wheels.example.org", "index.example.org", "files.example.org"]


def test_variables_of_pip_and_uv_count(tree: Tree) -> None:
    place = tree.place(
        PIP_INDEX_URL="https://one.example.org/simple",
        UV_INDEX="team=https://two.example.org/x https://three.example.org/?a=b",
    )

    assert found("pip", place) == ["one.example.org", "two.example.org", "three.example.org"]
    assert "pip: the variable PIP_INDEX_URL on the host" in {host.source for host in collect([place]).hosts}


def test_uvs_file_counts(tree: Tree) -> None:
    tree.write(
        "/root/.config/uv/uv.toml",
        '[[index]]\nurl = "https://one.example.org/"\ndefault = true\n[pip]\nextra-index-url = ["https://two.example.org/"]\n',
    )

    assert found("pip", tree.place()) == ["one.example.org", "two.example.org"]


def test_the_environments_client_comes_before_the_hosts_and_the_hosts_settings_count(
    tree: Tree, tmp_path: Path
) -> None:
    host = Tree(tmp_path / "host").write(PIP, PIP_TEXT.replace("example.org", "host.example.org"))
    tree.write(PIP, PIP_TEXT)

    assert found("pip", tree.place(), host.place()) == ["index.example.org", "files.example.org"]

    host.write("/etc/pip.conf", "[global]\nindex-url = https://company.example.org/simple\n")
    assert found("pip", tree.place(), host.place()) == ["company.example.org", "index.example.org", "files.example.org"]


def test_the_hosts_client_names_the_default_if_the_environment_has_none(tree: Tree, tmp_path: Path) -> None:
    host = Tree(tmp_path / "host").write(PIP, PIP_TEXT)
    assert found("pip", tree.place(), host.place()) == ["index.example.org", "files.example.org"]

    host.write("/etc/pip.conf", "[global]\nindex-url = https://company.example.org/simple\n")
    assert found("pip", tree.place(), host.place()) == ["company.example.org"]


def test_a_client_that_is_nowhere_has_the_default_of_its_ecosystem_and_a_note(tree: Tree) -> None:
    collected = collect([tree.place()])

    assert {host.client for host in collected.hosts} == {"pip", "npm", "cargo", "go", "gem", "maven", "git"}
    assert any(note.startswith("npm: installed neither") for note in collected.notes)
    assert any(note.startswith("apt: no host") for note in collected.notes)


def test_the_default_of_npm_is_in_its_own_files(tree: Tree, tmp_path: Path) -> None:
    text = "registry: new Definition('registry', {\n    default: 'https://registry.example.org/',\n    type: url,\n"
    tree.write(
        DEFINITIONS, "'omit-lockfile-registry-resolved': new Definition('omit-lockfile', { default: false }),\n" + text
    )

    assert found("npm", tree.place()) == ["registry.example.org"]
    assert found("npm", tree.place()) != known("npm", tmp_path)


def test_npm_beside_a_program_on_the_path_is_found(tree: Tree) -> None:
    tree.write("/opt/node/lib/node_modules/npm/bin/npm-cli.js", "", mode=0o755)
    tree.write(
        DEFINITIONS.replace("/usr/lib", "/opt/node/lib"),
        "registry: new D('registry', { default: 'https://r.example.org/',",
    )
    (tree.root / "opt/node/bin").mkdir()
    (tree.root / "opt/node/bin/npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")

    assert found("npm", tree.place(PATH="/opt/node/bin")) == ["r.example.org"]


def test_npmrc_has_registries_of_scopes_and_variables(tree: Tree) -> None:
    tree.write(DEFINITIONS, "registry: new D('registry', { default: 'https://registry.example.org/',")
    tree.write("/root/.npmrc", "@team:registry=https://${NPM_HOST}/x\n//npm.example.org/:_authToken=secret\n")
    place = tree.place(NPM_HOST="npm.example.org")
    assert found("npm", place) == ["npm.example.org", "registry.example.org"]

    tree.write("/usr/etc/npmrc", "; comment\nregistry = https://mirror.example.org/\n")
    assert found("npm", place) == ["mirror.example.org", "npm.example.org"]
    assert found("npm", tree.place(npm_config_registry="https://v.example.org/"))[-1] == "v.example.org"
    assert "secret" not in repr(collect([place]))


def test_the_git_hosts_that_npm_knows_are_those_of_its_short_names(tree: Tree) -> None:
    tree.write(
        f"{NPM}/hosted-git-info/lib/hosts.js",
        "hosts.one = {\n  domain: 'git.example.org',\n  tarballtemplate: ({ domain }) =>\n    `https://load.${domain}/${user}`,\n",
    )

    assert found("git", tree.place())[:2] == ["git.example.org", "load.git.example.org"]


def test_the_defaults_of_cargo_are_in_its_program(tree: Tree) -> None:
    tree.write(
        "/usr/bin/cargo",
        b"\x7fELF\0sparse+https://iints\0sparse+https://index.example.org/\0\0https://git.example.org/rust/the-index\0",
        mode=0o755,
    )

    assert found("cargo", tree.place()) == ["index.example.org", "git.example.org"]
    assert [index.address for index in collect([tree.place()]).indexes if index.client == "cargo"] == [
        "https://index.example.org/"
    ]


def test_a_source_that_replaces_the_default_of_cargo_is_used_instead(tree: Tree) -> None:
    tree.write("/usr/bin/cargo", b"sparse+https://index.example.org/", mode=0o755)
    tree.write(
        "/root/.cargo/config.toml",
        '[registries.team]\nindex = "sparse+https://team.example.org/i/"\n'
        '[source.crates-io]\nreplace-with = "m"\n[source.m]\nregistry = "sparse+https://mirror.example.org/"\n',
    )

    assert found("cargo", tree.place()) == ["team.example.org", "mirror.example.org"]
    assert found("cargo", tree.place(CARGO_REGISTRIES_X_INDEX="https://x.example.org/git/i"))[-1] == "x.example.org"


def test_go_reads_its_own_file_or_its_own_source(tree: Tree, tmp_path: Path) -> None:
    tree.write("/usr/local/go/go.env", "GOPROXY=https://proxy.example.org,direct\nGOSUMDB=sum.example.org\n")
    assert found("go", tree.place()) == ["proxy.example.org", "sum.example.org"]

    older = Tree(tmp_path / "older").write(
        CFG, 'GOPROXY = envOr("GOPROXY", "https://p.example.org,direct")\nGOSUMDB = envOr("GOSUMDB", "s.example.org")\n'
    )
    assert found("go", older.place()) == ["p.example.org", "s.example.org"]


def test_another_proxy_replaces_gos_own_and_the_checksum_database_stays(tree: Tree) -> None:
    tree.write("/usr/local/go/go.env", "GOPROXY=https://proxy.example.org,direct\nGOSUMDB=sum.example.org\n")
    tree.write("/root/.config/go/env", "GOPRIVATE=*.corp.example.org,git.example.org/team,*/x\n")

    hosts = found("go", tree.place(GOPROXY="https://u:p@company.example.org/go|direct"))

    assert sorted(hosts) == ["*.corp.example.org", "company.example.org", "git.example.org", "sum.example.org"]
    off = found("go", tree.place(GOSUMDB="key.example.org+1234+abc https://db.example.org/x"))
    assert "db.example.org" in off
    assert "key.example.org" not in off


def test_go_knows_hosts_of_git_if_modules_come_from_there(tree: Tree) -> None:
    tree.write("/usr/local/go/go.env", "GOPROXY=https://proxy.example.org,direct\n")
    tree.write(
        "/usr/local/go/src/cmd/go/internal/vcs/vcs.go",
        '{\n pathPrefix: "one.example.org",\n vcs: "git",\n repo: "https://{root}",\n},\n'
        '{\n pathPrefix: "two.example.org/x",\n vcs: "fossil",\n},\n'
        '{\n pathPrefix: "three.example.org",\n check: y,\n},\n',
    )

    assert found("git", tree.place())[:2] == ["one.example.org", "three.example.org"]
    assert "one.example.org" not in found("git", tree.place(GOPROXY="https://proxy.example.org"))


@pytest.mark.parametrize(
    "file",
    [
        "lib/ruby/vendor_ruby/rubygems/source.rb",
        "lib/ruby/vendor_ruby/bundler/fetcher/base.rb",
        "share/rubygems-integration/all/gems/bundler-2.3.15/lib/bundler/fetcher/base.rb",
    ],
)
def test_rubygems_names_its_source_and_the_host_of_its_index(tree: Tree, file: str) -> None:
    base = "/usr/lib/ruby/vendor_ruby"
    tree.write(f"{base}/rubygems/defaults.rb", "  def self.default_sources\n    %w[https://gems.example.org/]\n  end\n")
    tree.write(f"/usr/{file}", '      uri.host = "index.gems.example.org"\n')
    assert found("gem", tree.place()) == ["gems.example.org", "index.gems.example.org"]

    tree.write(
        "/root/.gemrc", "---\n:sources:\n- https://one.example.org/\n:verbose: true\n- https://no.example.org/\n"
    )
    tree.write("/root/.bundle/config", '---\nBUNDLE_MIRROR__ALL: "https://two.example.org"\n')
    assert found("gem", tree.place()) == ["one.example.org", "two.example.org"]


def test_maven_has_its_central_repository_in_its_library(tree: Tree, tmp_path: Path) -> None:
    pom = "<project><repositories><repository><id>c</id><url>https://central.example.org/m2</url></repository></repositories></project>"
    jar = tmp_path / "x.jar"
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("org/apache/maven/model/pom-4.0.0.xml", pom)
    tree.write("/usr/share/maven/lib/maven-model-builder-3.x.jar", jar.read_bytes())
    assert found("maven", tree.place()) == ["central.example.org"]

    tree.write(
        SETTINGS,
        '<settings xmlns="x"><mirrors><mirror><mirrorOf>external:*,!z</mirrorOf><url>https://${env.M}/m</url></mirror>'
        "</mirrors><!-- <mirror><url>https://comment.example.org/</url></mirror> --></settings>",
    )
    assert found("maven", tree.place(M="mirror.example.org")) == ["mirror.example.org"]


def test_git_configuration_names_hosts(tree: Tree) -> None:
    tree.write(
        "/etc/gitconfig", '[credential "https://one.example.org"]\n\thelper = x\n[include]\n\tpath = ~/more # why\n'
    )
    tree.write(
        "/root/more", '[url "git@two.example.org:"]\n insteadOf = https://three.example.org/\n[user]\n name = x\n'
    )

    hosts = found("git", tree.place())

    assert hosts[:2] == ["one.example.org", "two.example.org"]


def test_the_remotes_of_a_checkout_name_hosts(tmp_path: Path) -> None:
    top = Tree(tmp_path).write(
        "/.git/config",
        '[remote "origin"]\n url = https://u:p@one.example.org/x\n[remote "b"]\n url = git@two.example.org:x/y\n'
        '[remote "local"]\n url = ../elsewhere\n',
    )
    top.write("/.gitmodules", '[submodule "m"]\n path = m\n url = ssh://git@three.example.org:2222/m\n')
    (tmp_path / "below").mkdir()
    top.write("/linked/.git", "gitdir: ../.git/worktrees/linked\n").write("/.git/worktrees/linked/commondir", "../..\n")

    expected = ("one.example.org", "two.example.org", "three.example.org:2222")
    assert remote_hosts(tmp_path) == expected
    assert remote_hosts(tmp_path / "below") == expected
    assert remote_hosts(tmp_path / "linked") == expected[:2]


def test_a_directory_that_is_no_checkout_has_no_remotes(tmp_path: Path) -> None:
    assert remote_hosts(tmp_path / "none") == ()


FILES = [
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/a.list",
    "/etc/apt/sources.list.d/a.sources",
    "/etc/pip.conf",
    PIP,
    "/etc/uv/uv.toml",
    "/root/.npmrc",
    DEFINITIONS,
    f"{NPM}/hosted-git-info/lib/hosts.js",
    "/root/.cargo/config.toml",
    "/usr/bin/cargo",
    "/usr/local/go/go.env",
    "/usr/local/go/src/go.mod",
    CFG,
    "/usr/local/go/src/cmd/go/internal/vcs/vcs.go",
    "/root/.gemrc",
    "/root/.bundle/config",
    "/usr/lib/ruby/vendor_ruby/rubygems/defaults.rb",
    SETTINGS,
    "/etc/gitconfig",
    "/usr/share/maven/lib/maven-model-builder-3.x.jar",
    "/root/.yarnrc.yml",
]
WORDS = [
    "deb ",
    "URIs:",
    "[global]",
    "index-url = ",
    "https://",
    "a.example.org",
    "registry=",
    "${X}",
    "[source.crates-io]",
    "\n ",
    "replace-with = ",
    "index = ",
    '"',
    "[",
    "]",
    "{",
    "}",
    "GOPROXY=",
    "<mirror><url>",
    "</url>",
    "sources:",
    "- ",
    "PK\x03\x04",
    "\0",
    "\n\n",
    "=",
    "%(x)s",
    "[include]\npath = gitconfig\n",
    "[[[[[[[[",
    "a.a.a.a = {",
    "\\\n",
]


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=300) | st.lists(st.sampled_from(WORDS), max_size=60)))
def test_no_content_of_a_file_breaks_the_reading(tmp_path: Path, contents: dict[str, bytes | list[str]]) -> None:
    tree = Tree(tmp_path / "root")
    for path in FILES:
        content = contents.get(path, b"")
        tree.write(path, content if isinstance(content, bytes) else "".join(content))

    for host in collect([tree.place()]).hosts:
        assert "/" not in host.host
        assert "@" not in host.host


@given(st.binary(max_size=400))
def test_no_archive_breaks_the_reading(data: bytes) -> None:
    assert in_super_pom(data) == []
    assert in_super_pom(b"PK\x05\x06" + data) == []
