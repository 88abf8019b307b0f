"""Virtual network interfaces."""
