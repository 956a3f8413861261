#!/usr/bin/env bash
# Behaviour: mke2fs -d stores the time of a file from 2100 as 1963 and drops nanoseconds, without a message, although the inodes it makes have the fields for both.
# Guess: ext4 with 256-byte inodes keeps nanoseconds and times up to 2446, and mke2fs -d copies them as cp -a does.
# Version: e2fsprogs 1.47.0-2+b2, libext2fs2 1.47.0-2+b2 (Debian 12)
# Consequence: do not compare files of such an image with their originals by time; set the times after mounting where they matter.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

apt-get download -qq e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 2> /dev/null
for package in *.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$place/lib/x86_64-linux-gnu:$place/usr/lib/x86_64-linux-gnu TZ=UTC

mkdir tree
touch -d '2100-01-01 00:00:00.123456789' tree/late
touch -d '2020-01-01 00:00:00.123456789' tree/usual
sbin/mke2fs -q -t ext4 -d tree image 16M > making 2>&1
{
  grep -v 'Creating regular file' making || true
  for name in late usual; do
    echo "$name"
    sbin/debugfs -R "stat /$name" image 2> /dev/null | grep -E '^ mtime|extra inode fields'
  done
} > seen
diff - seen <<'SEEN'
late
 mtime: 0xf4865700:00000000 -- Mon Nov 25 17:31:44 1963
Size of extra inode fields: 32
usual
 mtime: 0x5e0be100:00000000 -- Wed Jan  1 00:00:00 2020
Size of extra inode fields: 32
SEEN
