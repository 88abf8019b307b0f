"""hvsim xenstore ls|read|write|list|rm|watch|control|live-update|timeline"""

from collections.abc import Sequence

HELP = """Look at and change the store of a running lab, as the xenstore-* tools do.
timeline is ours: how the devices came up, and who waits for whom. live-update replaces the
store's program while the lab runs; nobody is disconnected."""
EXAMPLE = """  hvsim xenstore ls -p /local/domain/2
  hvsim xenstore read /local/domain/2/name
  hvsim xenstore watch /local/domain/0/backend
  hvsim xenstore control quota
  hvsim xenstore timeline db-primary/xvda"""


def usage() -> list[str]:
    """What `hvsim xenstore --help` says."""
    from hvsim.commands.parser import columns, paragraphs
    from hvsim.commands.xenstore_words import VERBS

    return [
        "usage: hvsim xenstore [--lab NAME] [--json] COMMAND ...",
        "",
        *paragraphs(HELP, columns() - 2),
        "",
        *(f"  {verb:<11}  {text}" for verb, text in VERBS.items()),
        "",
        "`hvsim xenstore COMMAND --help` explains a command.",
        "",
        "example:",
        *EXAMPLE.split("\n"),
    ]


def run_raw(words: Sequence[str]) -> int:
    """Hand the words to the store's own command line; its exit codes are xenstore-*'s."""
    from hvsim.commands.common import say
    from hvsim.commands.raw import split_lab
    from hvsim.commands.xenstore_tools import main
    from hvsim.lab.builtin import BUILTIN
    from hvsim.lab.choose import choose
    from hvsim.lab.inquiry import Inquiry
    from hvsim.lab.our_store import needs_our_store
    from hvsim.xs.blocking import PATIENCE
    from hvsim.xs.waits import MACHINE

    words, lab = split_lab(words)
    while words[:1] == ["--json"] and len(words) > 1:  # it stood before the verb
        words = [*words[1:2], "--json", *words[2:]]
    if not words or words[0] in ("-h", "--help"):
        say(*usage())
        return 0 if words else 1
    if words[0] == "timeline":
        from hvsim.commands.xenstore_timeline import run_words

        return run_words(words[1:], lab)
    if {"-h", "--help"}.intersection(words):
        return main(list(words), "")
    run = choose(lab)
    if words[0] == "live-update":
        needs_our_store(run, "hvsim xenstore live-update")
    patience = PATIENCE if run.store == BUILTIN else 0.0  # a real store does not come back
    on_silence = Inquiry(run).store_words
    return main(
        list(words),
        str(run.xenstored),
        patience=patience,
        on_silence=on_silence,
        waits=run.waits() or MACHINE,
    )
