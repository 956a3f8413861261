"""Records of VMs and workspaces: the store, their directories, locks, removal, and reconciling records with reality."""
