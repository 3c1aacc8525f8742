"""Between Python and the kernels: runs of compiled steps, workspaces, threads."""
