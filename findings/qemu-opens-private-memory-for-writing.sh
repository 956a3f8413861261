#!/usr/bin/env bash
# Behaviour: QEMU opens the file of a memory-backend-file for writing even with share=off, whose mapping is private and never written back.
# Guess: a private mapping needs no more than reading, so a file that may only be read will do.
# Version: qemu-system-x86 1:7.2+dfsg-7+deb12u18+b3 (Debian 12), with the libraries of an installed one
# Consequence: a memory image that several machines map is only safe from them with readonly=on, a sealed memfd, or a check before each use.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
chmod 755 .

apt-get download -qq qemu-system-{x86,common}=1:7.2+dfsg-7+deb12u18+b3 qemu-system-data=1:7.2+dfsg-7+deb12u18 2> /dev/null
for package in *.deb; do dpkg -x "$package" .; done

export QEMU_MODULE_DIR=$place/usr/lib/x86_64-linux-gnu/qemu
truncate -s 16M memory
chmod 444 memory
# Permissions do not bind root.
as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
qemu=("${as_user[@]}" usr/bin/qemu-system-x86_64 -L usr/share/qemu
  -M microvm,memory-backend=ram -accel tcg -m 16 -nodefaults -no-user-config -nographic -S -monitor stdio)
{
  for more in share=off share=off,readonly=on; do
    status=0
    echo quit | "${qemu[@]}" -object "memory-backend-file,id=ram,size=16M,mem-path=memory,$more" > out 2>&1 || status=$?
    echo "$more: exit $status"
    grep -o "can't open.*" out || true
  done
} > seen
diff - seen <<'SEEN'
share=off: exit 1
can't open backing store memory for guest RAM: Permission denied
share=off,readonly=on: exit 0
SEEN
