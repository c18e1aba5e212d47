"""Files that others may write at the same moment: paths, leases, locks, atomic replacement."""
