"""A domain whose program is one of this machine: ``program = { exec = [...] }``."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.labs import Commands, commands

GOOD = """
[lab]
name = "programs"
[[domain]]
name = "good"
memory = 16
[domain.program]
exec = ["sh", "-c", "echo hello $GREETED; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"]
env = { GREETED = "world" }
"""  # noqa: E501
BAD = """
[[domain]]
name = "bad"
memory = 16
on_crash = "preserve"
program = { exec = ["sh", "-c", "echo working; sleep 1; exit 3"] }
"""


def write(folder: Path, text: str) -> str:
    file = folder / "programs.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def console(made: Commands, lab: str, domain: str) -> str:
    return (made.base / lab / "console" / f"{domain}.log").read_text(encoding="utf-8")


def test_its_output_is_the_console_and_a_shutdown_is_sigterm(tmp_path: Path) -> None:
    with commands() as made:
        made.ok("up", "--quiet", write(tmp_path, GOOD))
        made.ok("xl", "shutdown", "-w", "good")
        said = console(made, "programs", "good").splitlines()
        assert (said[0], said[-1]) == ("hello world", "bye")
        assert "crashed" not in made.ok("xl", "dmesg")
        made.ok("down")


TALKER = r"""
[lab]
name = "programs"
[[domain]]
name = "talker"
memory = 16
on_crash = "preserve"
[domain.program]
exec = ["sh", "-c", '''
test -t 0 && test -t 1
printf "%d\377 name? " $?
read name
echo "hello $name"
head -c 9000 /dev/zero | tr "\000" w
head -c 300000 /dev/zero | tr "\000" "\n"
printf last
kill -9 $$
''']
"""


def test_its_console_is_its_terminal(tmp_path: Path) -> None:
    """What is typed into `xl console` reaches it; a prompt is there at once, every byte of a flood
    and of a long line as well, and its last words when it is killed.  Seen red with the pipe by
    lines: no prompt before its newline, stdin at its end, \xff replaced."""
    with commands() as made:
        made.ok("up", "--quiet", write(tmp_path, TALKER))
        log = made.base / "programs" / "console" / "talker.log"
        until(lambda: log.exists() and log.read_bytes().endswith(b"0\xff name? "))
        typed = subprocess.run(
            made.argv("xl", "console", "talker"),
            input="Grüße\n".encode(),
            stdout=subprocess.PIPE,
            timeout=60,
            env=made.environment,
        )
        assert typed.returncode == 0
        assert typed.stdout.startswith(b"0\xff name? ")
        until(lambda: log.read_bytes().endswith(b"SIGKILL\n"))
        said = "Grüße\nhello Grüße\n".encode()
        flood = b"w" * 9000 + b"\n" * 300_000
        last = b"lastsh was killed by SIGKILL\n"
        assert log.read_bytes() == b"0\xff name? " + said + flood + last
        why = "talker (domain 1) has crashed: domains.kernel:main: sh was killed by SIGKILL"
        assert why in made.ok("ps").splitlines()
        made.ok("down")


def until(true: Callable[[], bool]) -> None:
    gone_by = time.monotonic() + 30
    while not true() and time.monotonic() < gone_by:
        time.sleep(0.02)
    assert true()


def test_a_crash_beside_a_domain_that_lives(tmp_path: Path) -> None:
    with commands() as made:
        made.ok("up", "--quiet", write(tmp_path, GOOD + BAD))
        made.ok("xl", "domid", "bad")
        gone_by = time.monotonic() + 30
        while "ended" not in console(made, "programs", "bad") and time.monotonic() < gone_by:
            time.sleep(0.05)
        said = console(made, "programs", "bad")
        assert said == "working\nsh ended with status 3\n"
        assert "sh ended with status 3" in made.ok("xl", "dmesg")
        made.ok("down")


def test_a_program_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = write(tmp_path, '[[domain]]\nname = "x"\nprogram = { exec = ["no-such-program"] }\n')
    with commands() as made:
        done = made.run("validate", file)
        assert done.returncode == 1
        assert "there is no program 'no-such-program'" in done.stdout + done.stderr
        done = made.run(
            "validate", write(tmp_path, '[[domain]]\nname = "x"\nprogram = { run = 1 }\n')
        )
        assert done.returncode == 1
        assert 'or { exec = ["COMMAND", "WORD", ...] }' in done.stdout + done.stderr
