"""Starting machines, for VMs and workspaces alike: selection, images, disks, templates, boot and launch."""
