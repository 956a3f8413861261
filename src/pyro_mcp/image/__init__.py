"""Images that guests boot from: the boot source (kernel and initramfs) and the environments (root file systems)."""
