"""The story that `hvsim demo` tells: a database that survives its storage domain."""
