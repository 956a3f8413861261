"""What guests boot from: the boot source (kernel and initramfs) and the environments (root file systems).

Owns how they are built, kept, verified, found and removed. Refuses to start a guest, and to know which workspace uses
what: callers say which images are still needed.
"""
