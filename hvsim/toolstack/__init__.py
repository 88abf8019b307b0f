"""dom0's hands: what xl and libxl are on a real host.

Guest configs (``config``), the store nodes of domains and devices (``layout``), building,
attaching, destroying, the commands (``xl``), and the daemon that serves them all (``daemon``).
"""
