"""Split drivers: both halves of each device class side by side, with the same file names."""
