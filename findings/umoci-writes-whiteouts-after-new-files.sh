#!/usr/bin/env bash
# Behaviour: umoci repack writes the whiteouts of a directory after the files that are new in it, and for a directory that was replaced one whiteout a file instead of an opaque mark.
# Guess: deletions stand before additions, as the image specification advises, and a replaced directory gets `.wh..wh..opq`.
# Version: umoci 0.4.7+ds-3+b7 (Debian 12)
# Consequence: a reader of layers collects all whiteouts of a layer first and applies them to the lower layers only.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

apt-get download -qq umoci=0.4.7+ds-3+b7 2> /dev/null
dpkg -x ./*.deb .

umoci() { usr/bin/umoci --log error "$@"; }
unpack() { umoci unpack --rootless --image layout:tag bundle; }
umoci init --layout layout
umoci new --image layout:tag
unpack
mkdir bundle/rootfs/docs
touch bundle/rootfs/docs/old-1 bundle/rootfs/docs/old-2
umoci repack --image layout:tag bundle
rm -r bundle
unpack
rm -r bundle/rootfs/docs
mkdir bundle/rootfs/docs
touch bundle/rootfs/docs/new
umoci repack --image layout:tag bundle

# The newest layer is the last digest in the manifest that the index names.
manifest=$(grep -o 'sha256:[0-9a-f]*' layout/index.json | head -1)
layer=$(grep -o 'sha256:[0-9a-f]*' "layout/blobs/sha256/${manifest#*:}" | tail -1)
tar -tzf "layout/blobs/sha256/${layer#*:}" | grep docs > seen
diff - seen <<'SEEN'
docs/
docs/new
docs/.wh.old-1
docs/.wh.old-2
SEEN
