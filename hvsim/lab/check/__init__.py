"""What is wrong with a lab file, said before anything of it exists."""
