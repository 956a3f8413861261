"""The guest's disk devices, and the ioctls that freeze and thaw a file system."""

from __future__ import annotations

#: Mount point of the root disk, outside the environment.
ROOT_DISK_PLACE = "/mnt/root"
BASE_DEVICE = "/dev/vda"
ROOT_DEVICE = "/dev/vdb"
WORKSPACE_DEVICE = "/dev/vdc"
#: A copy of the workspace disk in its initial state; during an inspection, an empty disk to copy the root to.
BASELINE_DEVICE = "/dev/vdd"
# linux/fs.h
FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
