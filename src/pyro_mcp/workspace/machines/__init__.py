"""How any machine gets to run, for VMs and workspaces alike: selection, images, disks, templates, boot and launch."""
