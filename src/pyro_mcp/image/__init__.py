"""Images for booting guests: the boot source (kernel and initramfs) and the environments (root file systems)."""
