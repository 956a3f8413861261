#!/usr/bin/env bash
# Behaviour: as root of a user namespace that an ordinary user made, dnsmasq does not start, even with user=root and group=root: it calls setgroups() whatever it is told. Only no-daemon, "debug mode", leaves that out.
# Guess: told to stay root, it changes neither user nor groups, as other daemons.
# Version: dnsmasq-base 2.90-4~deb12u2 (Debian 12), with the libraries of an installed one
# Consequence: run it with no-daemon there; then it writes no pid file, repeats its log on stderr, and answers TCP queries one after the other.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
chmod 755 .

apt-get download -qq dnsmasq-base=2.90-4~deb12u2 2> /dev/null
for package in *.deb; do dpkg -x "$package" .; done

as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
for mode in keep-in-foreground no-daemon; do
  echo "$mode"
  timeout 1 "${as_user[@]}" unshare --user --map-root-user --net -- \
    usr/sbin/dnsmasq --conf-file=/dev/null --$mode --user=root --group=root --no-resolv --no-hosts --pid-file= --log-facility=- 2>&1 |
    grep -oE 'started|failed to change group-id.*' || true
done > seen
diff - seen <<'SEEN'
keep-in-foreground
failed to change group-id to root: Operation not permitted
no-daemon
started
SEEN
