"""The tests; folders mirror the package, `lab/` is the real mesh, `parts/` finds the real parts."""
