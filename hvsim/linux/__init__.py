"""What Linux offers and the standard library does not: raw system calls, with their sources."""
