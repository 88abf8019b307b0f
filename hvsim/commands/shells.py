"""Scripts that complete `hvsim` in bash, zsh and fish.  Pure: made of the catalogue alone.

bash and zsh run the same function (zsh by its own bashcompinit).  It counts what has been typed:
the verb, then the arguments with a place; an option with a value takes the word behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from hvsim.commands.catalogue import Verb, Word

GLOBAL: Final = ("--lab", "--json", "--help", "--version")
"""What may stand before the verb."""
_RUN: Final = "${HVSIM_RUN_DIR:-${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/hvsim}}"

_SEEN: Final = "__fish_seen_subcommand_from"

_BASH: Final = """\
# Completion of hvsim, made by `hvsim completion bash`.
_hvsim_run_dir() {
    local place="%(run)s"
    printf %%s "${place:-/tmp/hvsim-$(id -u)}"
}
_hvsim_labs() {
    local place lab; place=$(_hvsim_run_dir)
    for lab in "$place"/*/lab.json; do
        [ -e "$lab" ] && lab=${lab%%/lab.json} && printf '%%s ' "${lab##*/}"
    done
}
_hvsim_domains() {
    local place log; place=$(_hvsim_run_dir)
    for log in "$place"/*/console/*.log; do
        [ -e "$log" ] && log=${log##*/} && log=${log%%.log} && printf '%%s ' "${log#guest-}"
    done
}
_hvsim() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
    local verb="" place=0 index=1 one="" words="" kind=""
    while [ "$index" -lt "$COMP_CWORD" ]; do
        one="${COMP_WORDS[index]}"
        index=$((index + 1))
        case "$verb $one" in
            *" --lab"|%(valued)s) index=$((index + 1)) ;;
            *" -"*) ;;
            " "*) verb="$one" ;;
            %(rooms)s) verb="$verb $one" ;;
            *) place=$((place + 1)) ;;
        esac
    done
    case "$verb $before" in
%(values)s
        *" --lab") kind=labs ;;
        *) case "$word" in
            -*) case "$verb" in
                "") words="%(global)s" ;;
%(options)s
            esac ;;
            *) case "$verb/$place" in
                "/0") words="%(verbs)s" ;;
%(places)s
            esac ;;
        esac ;;
    esac
    COMPREPLY=()
    case "$kind" in
        labs) words=$(_hvsim_labs) ;;
        domains) words="$(_hvsim_domains)" ;;
        files) COMPREPLY=( $(compgen -f -- "$word") ) ;;
        programs) COMPREPLY=( $(compgen -c -- "$word") ) ;;
    esac
    [ -z "$words" ] || COMPREPLY=( $(compgen -W "$words" -- "$word") )
}
complete -o filenames -o bashdefault -F _hvsim hvsim"""


def bash(verbs: Iterable[Verb]) -> str:
    """For bash, 4 or newer."""
    known = list(verbs)
    rooms = list(dict.fromkeys(verb.name[0] for verb in known if len(verb.name) > 1))
    valued, values, options, places = [], [], [], []
    for verb in known:
        name = " ".join(verb.name)
        flags = [flag for word in verb.words for flag in word.flags]
        options.append(f'                "{name}") words="{" ".join(flags)}" ;;')
        for word in verb.words:
            taking = [f'"{name} {flag}"' for flag in word.flags if word.value]
            if taking and word.kind != "labs":
                valued += taking
                values.append(f"        {'|'.join(taking)}) {_offer(word)} ;;")
        for place, word in enumerate(word for word in verb.words if not word.flags):
            places.append(f'                "{name}/{place}") {_offer(word)} ;;')
    for room in rooms:
        below = " ".join(_below(known, room))
        places.append(f'                "{room}/0") words="{below}" ;;')
    return _BASH % {
        "run": _RUN,
        "global": " ".join(GLOBAL),
        "verbs": " ".join(verb.name[0] for verb in known if len(verb.name) == 1),
        "valued": "|".join(valued),
        "values": "\n".join(values),
        "options": "\n".join(options),
        "places": "\n".join(places),
        "rooms": "|".join(f'"{room} "*' for room in rooms),
    }


def _offer(word: Word) -> str:
    if word.choices:
        return f'words="{" ".join(word.choices)}"'
    if word.value == "-- COMMAND":
        return "kind=programs"
    return f"kind={word.kind or 'nothing'}"


def zsh(verbs: Iterable[Verb]) -> str:
    """For zsh, whose compinit has run."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash(verbs)}"


def fish(verbs: Iterable[Verb]) -> str:
    """For fish, 3 or newer."""
    known = list(verbs)
    lines = [
        "# Completion of hvsim, made by `hvsim completion fish`.",
        "complete -c hvsim -f",
        "complete -c hvsim -n __fish_use_subcommand -l lab -x -d 'the lab'",
        "complete -c hvsim -n __fish_use_subcommand -l json -d 'print JSON, for programs'",
    ]
    for verb in known:
        room, *leaf = verb.name
        when = "__fish_use_subcommand"
        if leaf:
            others = " ".join(_below(known, room))
            when = f"{_SEEN} {room}; and not {_SEEN} {others}"
        lines.append(
            f"complete -c hvsim -n {_quoted(when)} -a {verb.name[-1]} -d {_quoted(verb.summary)}"
        )
        seen = "; and ".join(f"{_SEEN} {name}" for name in verb.name)
        offers = (_in_fish(word) for word in verb.words)
        lines += [f"complete -c hvsim -n {_quoted(seen)} {offer}" for offer in offers if offer]
    return "\n".join(lines)


def _below(known: Iterable[Verb], room: str) -> list[str]:
    return [verb.name[1] for verb in known if verb.name[0] == room and verb.name[1:]]


def _in_fish(word: Word) -> str:
    """What follows the condition; "" for an argument of which nothing is known."""
    parts = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in word.flags]
    if word.choices:
        parts.append(f"{'-x ' if word.flags else ''}-a {_quoted(' '.join(word.choices))}")
    elif word.kind == "files":
        parts.append("-r -F" if word.flags else "-F")
    elif not word.flags:
        return ""
    elif word.value:
        parts.append("-x")
    return " ".join([*parts, *([f"-d {_quoted(word.help)}"] if word.help else [])])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Final[Mapping[str, Callable[[Iterable[Verb]], str]]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}
