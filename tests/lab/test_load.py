"""A lab file is refused before anything starts, with every fault, place and remedy at once."""

import json
from pathlib import Path

import jsonschema
import pytest

from hvsim.lab.load import load
from hvsim.lab.problems import LabFileError
from hvsim.lab.schema import schema

ROOT = Path(__file__).resolve().parents[2]

GUEST = """
[[domain]]
name = "web"
program = "domains.guests.idle:main"
disk = ["format=raw,vdev=xvda,access=rw,target=web.img"]
"""
IMAGE = """
[[image]]
path = "web.img"
size = "8M"
scratch = true
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "lab.toml"
    file.write_text(text)
    return file


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(LabFileError) as caught:
        load(write(folder, text))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["two-tier.toml", "single.toml", "three-tier.toml"])
def test_the_labs_that_we_ship_are_sound(name: str) -> None:
    lab = load(ROOT / "configs" / name)
    assert lab.name == name.removesuffix(".toml")
    assert lab.domains


def test_values_reach_the_model(tmp_path: Path) -> None:
    lab = load(
        write(
            tmp_path,
            """
[lab]
name = "mine"
memory = "4G"
cpus = 2
trace = true
seed = 7
event_mode = "mediated"
"""
            + IMAGE
            + GUEST
            + """
memory = "1G"
restart = "always"
args = { rate = 5 }
""",
        )
    )
    assert (lab.name, lab.memory, lab.cpus, lab.trace, lab.seed) == ("mine", 4096, 2, True, 7)
    assert lab.event_mode == "mediated"
    [domain] = lab.domains
    assert (domain.memory, domain.restart, domain.args) == (1024, "always", {"rate": 5})
    assert lab.image_paths(Path("/run/x")) == {"web.img": "/run/x/web.img"}


def test_the_name_defaults_to_that_of_the_file_and_can_be_replaced(tmp_path: Path) -> None:
    file = write(tmp_path, IMAGE + GUEST)
    assert load(file).name == "lab"
    assert load(file, name="other").name == "other"


def test_overrides_replace_keys_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "web.cfg").write_text(
        'name = "web"\nmemory = 32\nprogram = "domains.guests.idle:main"\n'
    )
    lab = load(
        write(
            tmp_path,
            """
[[domain]]
config = "web.cfg"
[domain.overrides]
name = "web2"
memory = "64M"
""",
        )
    )
    assert (lab.domains[0].name, lab.domains[0].memory) == ("web2", 64)
    assert lab.domains[0].overrides == ('name = "web2"', "memory = 64")


def test_driver_domains_are_created_first(tmp_path: Path) -> None:
    lab = load(
        write(
            tmp_path,
            IMAGE
            + GUEST.replace("rw,", "rw,backend=store,")
            + """
[[domain]]
name = "store"
role = "driver"
program = "domains.storage:main"
""",
        )
    )
    assert [domain.name for domain in lab.creation_order] == ["store", "web"]


def test_unknown_keys_name_the_line_and_the_likely_key(tmp_path: Path) -> None:
    assert refused(tmp_path, IMAGE + GUEST + 'restrat = "always"\n') == [
        "lab.toml:11: domain 'web': unknown key 'restrat'; did you mean 'restart'?"
    ]


def test_unknown_tables_too(tmp_path: Path) -> None:
    assert refused(tmp_path, GUEST.replace("disk", "#") + "[host]\n") == [
        "lab.toml:6: unknown key 'host'; known here: device, domain, fault, image, lab, store"
    ]


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        """
[lab]
event_mode = "medated"
cpus = "two"
[[image]]
path = "gone.img"
[[domain]]
name = "a"
program = "domains.guests.idle"
[[domain]]
name = "b"
program = "no.such.module:main"
disk = ["vdev=xvda,target=nothing.img", "vdev=xvdb,backend=storge,target=gone.img"]
[[domain]]
name = "b"
program = "domains.guests.idle:main"
""",
    )
    assert found == [
        "lab.toml:3: [lab], event_mode: 'medated' is not one of direct, mediated; "
        "did you mean 'mediated'?",
        "lab.toml:4: [lab], cpus: must be a whole number, is 'two'",
        f"lab.toml:6: image 'gone.img', path: the image {'gone.img'} does not exist; create it, "
        'or add size = "64M" (it is then made at `hvsim up`)',
        "lab.toml:9: domain 'a', program: 'domains.guests.idle' does not fit; write "
        'module:function, as in "domains.guests.idle:main", or { exec = ["COMMAND", "WORD", ...] }',
        "lab.toml:10: domain 'b': disk xvda: the image nothing.img does not exist; "
        'create it, or add [[image]] path = "nothing.img" size = "64M" scratch = true',
        "lab.toml:10: domain 'b': disk xvdb: backend=storge names no domain; "
        'declare a [[domain]] with role = "driver"',
        "lab.toml:12: domain 'b', program: there is no module 'no.such.module'; put it next to "
        "the lab file, or name one of domains.guests",
        "lab.toml:14: domain 'b': its name 'b' is that of the domain at line 10; give it another: "
        'name = "..." (with config: in overrides)',
    ]


def test_a_backend_must_be_another_driver_domain(tmp_path: Path) -> None:
    text = (
        IMAGE
        + GUEST.replace("rw,", "rw,backend={},")
        + """
[[domain]]
name = "storage"
program = "domains.storage:main"
role = "{}"
"""
    )
    assert load(write(tmp_path, text.format("storage", "driver"))).domains
    assert load(write(tmp_path, text.format("Domain-0", "driver"))).domains
    assert "did you mean 'storage'?" in refused(tmp_path, text.format("storag", "driver"))[0]
    assert "is no driver domain" in refused(tmp_path, text.format("storage", "guest"))[0]
    assert "its own backend" in refused(tmp_path, text.format("web", "driver"))[0]


def test_one_writable_image_belongs_to_one_disk(tmp_path: Path) -> None:
    second = GUEST.replace('"web"', '"second"')
    assert "is disk xvda of 'web' too" in refused(tmp_path, IMAGE + GUEST + second)[0]
    both_read = (IMAGE + GUEST + second).replace("access=rw", "access=ro")
    assert len(load(write(tmp_path, both_read)).domains) == 2


def test_a_name_that_up_could_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when only `up` looks: the file's name is the lab's, and sockets have short paths."""
    file = tmp_path / "my lab.toml"
    file.write_text(IMAGE + GUEST)
    with pytest.raises(LabFileError, match="lab name 'my lab'; use letters, digits"):
        load(file)
    assert load(file, name="mine")
    monkeypatch.setenv("HVSIM_RUN_DIR", "/tmp/" + "d" * 80)
    with pytest.raises(LabFileError, match=r"a socket path of \d+ bytes, the kernel takes 107"):
        load(file, name="a-name-of-22-characters")


def test_one_name_is_one_image(tmp_path: Path) -> None:
    """Also when one of them is made in the run directory.  Red with their places compared only:
    a disk line would mean the later one, without a word."""
    kept = IMAGE.replace("scratch = true", "")
    assert "is the same image as the one at line 2" in refused(tmp_path, IMAGE + kept + GUEST)[0]


def test_hard_links_and_symbolic_links_are_one_image(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(bytes(512))
    (tmp_path / "b.img").hardlink_to(tmp_path / "a.img")
    (tmp_path / "c.img").symlink_to("a.img")
    for name in ("b.img", "c.img", "./a.img"):
        text = GUEST.replace("web.img", "a.img") + GUEST.replace("web.img", name).replace(
            '"web"', '"second"'
        )
        [found] = refused(tmp_path, text)
        assert f"the image {name} is disk xvda of 'web' too" in found
        shared = f'[[image]]\npath = "{name}"\nshared = true\n'
        assert load(write(tmp_path, shared + text)).images[0].shared
        assert load(write(tmp_path, text.replace("access=rw", "access=w!"))).domains


def test_a_scratch_image_needs_a_size(tmp_path: Path) -> None:
    assert refused(tmp_path, IMAGE.replace('size = "8M"', "") + GUEST) == [
        "lab.toml:2: image 'web.img': the key 'size' is missing; add size = ...",
    ]


def test_errors_of_a_guest_config_keep_their_own_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.cfg").write_text('name = "bad"\nmemory==3\nkernel="/k"\n')
    [found] = refused(tmp_path, '[[domain]]\nconfig = "bad.cfg"\n')
    assert found.startswith("bad.cfg:2: config parsing error near")
    [missing] = refused(tmp_path, '[[domain]]\nconfig = "none.cfg"\n')
    assert missing.startswith("lab.toml:2: domain 'none.cfg', config: none.cfg: No such file")


def test_an_inline_guest_without_a_program_says_what_to_add(tmp_path: Path) -> None:
    assert refused(tmp_path, '[[domain]]\nname = "x"\n') == [
        "lab.toml:1: domain 'x': Neither kernel nor bootloader specified; "
        'add program = "module:function"'
    ]


def test_more_memory_than_the_machine_has(tmp_path: Path) -> None:
    [found] = refused(tmp_path, "[lab]\nmemory = 128\n" + IMAGE + GUEST + "memory = 256\n")
    assert found == (
        "lab.toml:2: [lab], memory: the domains want 256 MiB, the machine has 128; "
        "set memory = 512 in [lab], or make domains smaller"
    )


def test_what_is_no_toml_names_the_line(tmp_path: Path) -> None:
    [found] = refused(tmp_path, "[lab]\nname = \n")
    assert found.startswith("lab.toml:2: column 8: not TOML: Invalid value")


def test_a_missing_file_lists_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, GUEST)
    with pytest.raises(LabFileError, match=r"there is no such file; lab files there: .*lab\.toml"):
        load(tmp_path / "lba.toml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabFileError, match="is not UTF-8 text"):
        load(tmp_path / "x.toml")


@pytest.mark.parametrize("extra", ["both \" and '", "C:\\new\\table", "two\nlines\t", "\\112 ä"])
def test_every_text_reaches_the_guest_as_it_is(tmp_path: Path, extra: str) -> None:
    """Red when a backslash is written into the xl.cfg as it is: \\n would be a line end there."""
    domain = load(
        write(tmp_path, GUEST.replace("disk", "#") + f"extra = {json.dumps(extra)}\n")
    ).domains[0]
    assert domain.guest is not None
    assert domain.guest.cmdline == extra


def test_the_schema_itself_is_sound_and_published() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    text = (ROOT / "hvsim" / "lab" / "schema.json").read_text()
    assert json.loads(text)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "text",
    [
        "lab = 3\n",
        "domain = 3\n",
        "image = {}\n",
        "[lab]\nname = 3\n",
        "[[domain]]\nname = 3\n",
        '[[domain]]\nname = "a"\ndisk = "x"\n',
        "[[image]]\npath = 3\n",
        "",
        "[[domain]]\n",
        "domain = [1, 2]\n",
        '[[domain]]\nconfig = 3\n[[domain]]\nname = "b"\n',
        '[[domain]]\nname = "a"\nmemory = "x"\n',
        "[lab]\nmemory = [1]\n" + GUEST,
    ],
)
def test_wrong_kinds_are_refused_and_never_a_traceback(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text)


def test_the_lab_files_there_are_lab_files(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(LabFileError, match="give the path of a lab file"):
        load(tmp_path / "storm")
