"""Virtual disks."""
