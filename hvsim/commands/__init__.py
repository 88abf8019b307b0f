"""The verbs of the `hvsim` command, one to a file: HELP, EXAMPLE, arguments() and run()."""
