#!/usr/bin/env bash
# Behaviour: git apply and GNU patch apply a hunk up to the line counts in its header, ignore the changes after that, and exit with 0.
# Guess: a hunk longer than its header says is a corrupt patch, and nothing is applied.
# Version: git 1:2.39.5-0+deb12u3, patch 2.7.6-7+deb12u1 (Debian 12)
# Consequence: count the lines of hunks from models and people before applying them; the exit status proves nothing.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

apt-get download -qq git=1:2.39.5-0+deb12u3 patch=2.7.6-7+deb12u1 2> /dev/null
for package in *.deb; do dpkg -x "$package" .; done

# The header counts two lines on each side; the hunk has three.
cat > change.patch <<'PATCH'
--- a/list
+++ b/list
@@ -1,2 +1,2 @@
-one
+ONE
 two
-three
+THREE
PATCH
{
  for tool in "usr/bin/git apply" "usr/bin/patch -s -p1 -i"; do
    printf 'one\ntwo\nthree\n' > list
    status=0
    $tool change.patch || status=$?
    echo "$tool: exit $status:" $(cat list)
  done
} > seen 2>&1
diff - seen <<'SEEN'
usr/bin/git apply: exit 0: ONE two three
usr/bin/patch -s -p1 -i: exit 0: ONE two three
SEEN
