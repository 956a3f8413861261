"""The guest's disks, by device, and the requests that freeze and thaw one's file system."""

from __future__ import annotations

#: Where the root disk is mounted, below the environment's own root.
ROOT_DISK_PLACE = "/mnt/root"
BASE_DEVICE = "/dev/vda"
ROOT_DEVICE = "/dev/vdb"
WORKSPACE_DEVICE = "/dev/vdc"
#: A copy of the workspace's disk as it was first; or, while disks are looked at, an empty one to copy the root to.
BASELINE_DEVICE = "/dev/vdd"
# linux/fs.h
FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
