"""What `hvsim VERB --help` prints, without a process for each."""

import importlib

from hvsim.commands import xenstore, xenstore_timeline, xenstore_words
from hvsim.commands.catalogue import Verb
from hvsim.commands.verbs import parser_of


def help_of(verb: Verb) -> str:
    """Of every verb but those of xl, whose texts are xl's."""
    room, *leaf = verb.name
    if room != "xenstore":
        return parser_of(room, importlib.import_module(f"hvsim.commands.{room}")).format_help()
    if not leaf:
        return "\n".join(xenstore.usage())
    if leaf == ["timeline"]:
        return xenstore_timeline.parser().format_help()
    return xenstore_words.parser().verbs()[leaf[0]].format_help()
