#!/usr/bin/env bash
# Behaviour: HAProxy with "log fd@1" sets O_NONBLOCK on its stdout, and so for every process that inherited the same open file: a shell loop that reads the other end through such a descriptor ends after the first line.
# Guess: a program that logs to an inherited descriptor writes to it and leaves its flags alone.
# Version: haproxy 2.6.12-1+deb12u4 (Debian 12), with the libraries of an installed one
# Consequence: give the reader of a FIFO an open file of its own (open it by name), not a copy of the descriptor that HAProxy got.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

apt-get download -qq haproxy=2.6.12-1+deb12u4 2> /dev/null
for package in *.deb; do dpkg -x "$package" .; done

cat > configuration <<'CONFIGURATION'
global
  log fd@1 format raw local0
defaults
  log global
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
  log-format "request %HU"
frontend pages
  bind unix@pages.sock
  http-request return status 200
CONFIGURATION
mkfifo lines
exec 6<> lines
flags() { printf 'O_NONBLOCK: %s\n' "$(($(printf '%d' "0$(sed -n 's/^flags:\t//p' "/proc/$$/fdinfo/6")") >> 11 & 1))"; }
{
  flags
  usr/sbin/haproxy -db -f configuration >&6 2> /dev/null &
  haproxy=$!
  until [ -S pages.sock ]; do sleep 0.1; done
  curl -s --unix-socket pages.sock http://example.org/one
  sleep 0.5
  flags
  kill "$haproxy"
  wait "$haproxy" || true
  read -r -u 6 line && echo "$line"
  if read -r -u 6 line; then echo "$line"; else echo "read ends: exit $?"; fi
} > seen 2> /dev/null
diff - seen <<'SEEN'
O_NONBLOCK: 0
O_NONBLOCK: 1
request /one
read ends: exit 1
SEEN
