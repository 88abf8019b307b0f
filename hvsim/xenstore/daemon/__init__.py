"""xenstored as a process: sockets, ring pages, live update."""
