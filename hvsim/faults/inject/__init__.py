"""What rules of faults put at the seams of a process; loaded by name where one stands."""
