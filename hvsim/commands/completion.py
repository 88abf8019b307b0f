"""hvsim completion SHELL"""

import argparse

from hvsim.commands.common import say

HELP = """Print what makes a shell complete hvsim's commands, options, labs, domains and files.

It is made from the commands themselves, and asks nobody when a key is pressed: labs and domains
are looked for in the run directory. Load it in the shell's own start-up file."""
EXAMPLE = """  eval "$(hvsim completion bash)"        # in ~/.bashrc
  eval "$(hvsim completion zsh)"         # in ~/.zshrc, after compinit
  hvsim completion fish | source         # in ~/.config/fish/config.fish"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="whose syntax")


def run(options: argparse.Namespace) -> int:
    """Exit 0."""
    from hvsim.commands import shells
    from hvsim.commands.catalogue import catalogue

    script = shells.SCRIPTS[options.shell](catalogue())
    say(*script.split("\n"))
    return 0
