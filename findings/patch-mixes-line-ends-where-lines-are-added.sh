#!/usr/bin/env bash
# Behaviour: GNU patch refuses to replace a line of a CRLF file with an LF patch, but adds LF lines to the same file, with fuzz and exit status 0.
# Guess: both are refused, or both are applied; an accepted patch leaves one kind of line end.
# Version: patch 2.7.6-7+deb12u1 (Debian 12)
# Consequence: find out a file's line ends first and convert the patch; exit status 0 does not mean that they agree.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

apt-get download -qq patch=2.7.6-7+deb12u1 2> /dev/null
dpkg -x ./*.deb .

printf 'one\ntwo\nthree\n' > before
printf 'one\nTWO\nthree\n' > replaced
printf 'one\ntwo\nnew\nthree\n' > added
{
  for kind in replaced added; do
    diff -u before "$kind" > change.patch || true
    printf 'one\r\ntwo\r\nthree\r\n' > file
    status=0
    usr/bin/patch -r - file change.patch || status=$?
    echo "$kind: exit $status"
    od -An -c file
  done
} > seen 2>&1
diff -b - seen <<'SEEN'
patching file file
Hunk #1 FAILED at 1 (different line endings).
1 out of 1 hunk FAILED
replaced: exit 1
 o n e \r \n t w o \r \n t h r e e \r
 \n
patching file file
Hunk #1 succeeded at 1 with fuzz 2.
added: exit 0
 o n e \r \n t w o \r \n n e w \n t h
 r e e \r \n
SEEN
