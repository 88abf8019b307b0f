"""dom0's hands: what xl and libxl are on a real host.

Guest configs (``config``), what all parts stand on (``host``), kinds of devices and what is done
with them (``devices``), building and destroying domains (``domain``), the commands (``xl``), and
the daemon that serves them all (``daemon``).
"""
