"""Files that host tools run or obey in a home directory, such as shell startup files.

In a project they have no effect, so a user may export them. Other callers, such as models, may not export them to any
path.
"""

from __future__ import annotations

from itertools import pairwise

from pyro_mcp.trees.hooks.table import Rule

_HOME = Rule("a program that reads it in a home directory")
_NAMES = frozenset(
    b".bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv .zprofile .zlogin .zlogout"
    b" .kshrc .mkshrc .shrc .cshrc .tcshrc .login .logout .xonshrc .inputrc .xprofile .xinitrc .xsession .xsessionrc"
    b" .xresources .pam_environment .gitconfig .hgrc .tmux.conf .screenrc .wgetrc .curlrc .netrc .pythonrc .pythonrc.py"
    b" .pypirc .condarc .gemrc .psqlrc .sqliterc .my.cnf .emacs .emacs.el .spacemacs .lesskey .mailcap .forward .rhosts"
    b" .shosts authorized_keys authorized_keys2 .crontab crontab".split()
)
# Everything below directories with these names.
_TREES = frozenset(
    b".ssh .gnupg .emacs.d .bashrc.d .zshrc.d .profile.d .oh-my-zsh .zsh .ipython .jupyter .julia .docker .kube .m2"
    b" .gradle .pulumi".split()
)
_BELOW = {
    b".config": frozenset(
        b"autostart systemd environment.d fish git nvim nushell zsh bash tmux kitty alacritty wezterm ghostty direnv"
        b" helix zed sublime-text code pip uv pypoetry gh hypr sway i3 awesome bspwm openbox plasma-workspace xfce4"
        b" nix".split()
    ),
    b".local": frozenset({b"bin", b"share"}),
}


def home_rule_for(path: bytes) -> Rule | None:
    """Return the rule that a file would match in a home directory, or None."""
    parts = path.lower().split(b"/")
    if parts[-1] in _NAMES or not _TREES.isdisjoint(parts[:-1]):
        return _HOME
    return _HOME if any(inner in _BELOW.get(outer, ()) for outer, inner in pairwise(parts)) else None
