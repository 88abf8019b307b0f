"""Whatever the toolstack refuses of a guest, `hvsim validate` has refused before, for the same
reason: both ask `hvsim.toolstack.domain.refusals`.

Seen red with each call of a refusal taken out of lab/check/guests.py, and with two disks of one
number kept in one place of a dictionary (the first was lost without a word).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.load import load, load_guest
from hvsim.lab.problems import LabFileError
from tests.support.lab_host import LabHost
from tests.support.labs import ROOT, commands

HEAD = 'name = "g"\nmemory = 32\nprogram = "domains.guests.idle:main"\n'

BAD: dict[str, tuple[str, str, str]] = {
    # What it is called: the config, what the toolstack says, what validate says.
    "type": (f'{HEAD}type = "hvm"\n', "neither hap nor shadow paging", "a guest of type hvm"),
    "pvh": (f'{HEAD}type = "pvh"\n', "neither hap nor shadow paging", "a guest of type pvh"),
    "slash": (f'{HEAD}name = "a/b"\n', "'a/b' cannot be that of a file", "'a/b' cannot be"),
    "empty": (f'{HEAD}name = ""\n', "the name is empty", "the name is empty"),
    "bell": (f'{HEAD}name = "a\\a"\n', "cannot be printed", "cannot be printed"),
    "long": (f'{HEAD}name = "{"n" * 129}"\n', "129 bytes", "129 bytes"),
    "vcpus": (f"{HEAD}vcpus = 33\n", "domain creation fail", "33 virtual CPUs are more than"),
    "maxvcpus": (f"{HEAD}maxvcpus = 99\n", "domain creation fail", "99 virtual CPUs"),
    "less": (f"{HEAD}vcpus=4\nmaxvcpus=2\n", "maxvcpus < vcpus", "maxvcpus < vcpus"),
    "memory": (f"{HEAD}memory = 0\n", "0 MiB is no memory", "0 MiB is no memory"),
    "kernel": (
        'name = "g"\nkernel = "/no/kernel"\n',
        "failed to open file '/no/kernel'",
        "kernel: /no/kernel: No such file",
    ),
    "no kernel": (
        'name = "g"\nkernel = "/etc/passwd"\n',
        "no loader found",
        "/etc/passwd is no kernel",
    ),
    "vdev": (
        f'{HEAD}disk = ["{{image}},raw,xvda0,rw"]\n',
        "unsupported virtual disk identifier xvda0",
        "'xvda0' names no virtual disk",
    ),
    "no vdev": (
        f'{HEAD}disk = ["{{image}},raw,,rw"]\n',
        "unsupported virtual disk identifier",
        "'' names no virtual disk",
    ),
    "one vdev twice": (
        f'{HEAD}disk = ["{{image}},raw,xvda,r", "{{image}},raw,d0p0,r"]\n',
        "device already exists in xenstore",
        "disk d0p0: another disk of this guest has this number",
    ),
    "backend type": (
        f'{HEAD}disk = ["format=qcow2,backendtype=phy,vdev=xvda,target={{image}}"]\n',
        "no suitable backend for disk xvda",
        "nothing here serves format=qcow2 with backendtype=phy",
    ),
    "virtio": (
        f'{HEAD}disk = ["specification=virtio,vdev=xvda,target={{image}}"]\n',
        "no suitable backend",
        "specification=virtio",
    ),
    "vhd": (f'{HEAD}disk = ["vhd:{{image}},xvda,w"]\n', "no suitable backend", "format=vhd"),
    "no image": (
        f'{HEAD}disk = ["/no/such.img,raw,xvda,rw"]\n',
        "failed to stat: /no/such.img",
        "the image /no/such.img does not exist",
    ),
    "no file": (
        f'{HEAD}disk = ["/dev/null,raw,xvda,rw"]\n',
        "neither a file nor a block device",
        "neither a file nor a block device",
    ),
    "an empty drive": (f'{HEAD}disk = [",raw,hdc,cdrom"]\n', "", "an empty drive"),
    "an image twice": (
        f'{HEAD}disk = ["{{image}},raw,xvda,rw", "{{link}},raw,xvdb,r"]\n',
        "disk xvda of 'g', which may write to it, and so cannot be attached read-only now",
        "is disk xvda of 'g' too",
    ),
    "bridge": (
        f'{HEAD}vif = ["bridge=a-name-of-17-byte"]\n',
        "bridge=a-name-of-17-byte is no name for a link",
        "vif 0: bridge=a-name-of-17-byte is no name for a link",
    ),
    "vifname": (f'{HEAD}vif = ["vifname=a/b"]\n', "vifname=a/b", "vifname=a/b is no name"),
    "mtu": (f'{HEAD}vif = ["mtu=67"]\n', "mtu=67 is out of range", "mtu=67 is out of range"),
    "ip": (f'{HEAD}vif = ["ip=10.0.0.300"]\n', "ip=10.0.0.300", "ip=10.0.0.300 is no address"),
    "group": (f'{HEAD}vif = ["mac=03:0:0:0:0:1"]\n', "of a group", "address of a group"),
    "rate": (f'{HEAD}vif = ["rate=1b/s"]\n', "less than a byte", "less than a byte"),
    "one devid twice": (
        f'{HEAD}vif = ["devid=1", ""]\n',
        "device already exists in xenstore",
        "vif 1: another vif of this guest has this number",
    ),
    "syntax": (f"{HEAD}memory = many\n", "expecting STRING", "expecting STRING"),
    "capital": (f"{HEAD}Memory = 64\n", "lexical error", "did you mean 'memory'?"),
    "uuid": (f'{HEAD}uuid = "1"\n', "Failed to parse UUID: 1", "Failed to parse UUID: 1"),
    "action": (f'{HEAD}on_crash = "restrat"\n', 'action "restrat"', "did you mean 'restart'?"),
    "format": (
        f'{HEAD}disk = ["{{image}},RAW,xvda,rw"]\n',
        "unknown value for format: near `RAW'",
        "did you mean 'raw'?",
    ),
    "parameter": (
        f'{HEAD}disk = ["vdv=xvda,target={{image}}"]\n',
        "unknown parameter: near `vdv=x'",
        "did you mean 'vdev'?",
    ),
    "blank": (
        f'{HEAD}disk = ["format = raw,vdev=xvda,target={{image}}"]\n',
        "bad disk syntax",
        "did you mean 'format'?",
    ),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Path]]:
    folder = tmp_path_factory.mktemp("early")
    image = folder / "disk.img"
    image.write_bytes(bytes(1 << 16))
    (folder / "hard.img").hardlink_to(image)
    with LabHost(folder) as lab:
        yield lab, folder


@pytest.mark.parametrize("which", BAD)
def test_the_toolstack_and_validate_refuse_the_same(host: tuple[LabHost, Path], which: str) -> None:
    lab, folder = host
    text, told, early = BAD[which]
    text = text.replace("{image}", f"{folder}/disk.img").replace("{link}", f"{folder}/hard.img")
    answer = lab.request("create", config=text, config_path="g.cfg", directory="/")
    assert answer.exit != 0
    assert told in answer.err
    # Who has mapped a page of it, xenconsoled say, lets go a moment later.
    lab.wait(lambda: lab.xl("list").out.count("\n") == 2, "nothing to be left")
    file = folder / "g.cfg"
    file.write_text(text)
    with pytest.raises(LabFileError) as refused:
        load_guest(file)
    [problem] = refused.value.problems
    assert early in str(problem)
    assert problem.remedy


def test_what_the_toolstack_takes_validate_takes(host: tuple[LabHost, Path]) -> None:
    """The control: neither refuses what is right."""
    lab, folder = host
    image = f"{folder}/disk.img"
    text = (
        f'{HEAD}vcpus = 2\nmaxvcpus = 32\nextra = "a\\"b"\n'
        f'disk = [" format=raw, vdev=xvda, access=rw, target={image}"]\n'
    )
    answer = lab.request(
        "create", config=text, config_path="g.cfg", directory="/", path=[str(ROOT)]
    )
    assert answer.exit == 0, answer.err
    file = folder / "g.cfg"
    file.write_text(text)
    # Nobody but this lab has the image: to a lab of another name it is in use.
    with pytest.raises(LabFileError, match="disk xvda of 'g' in lab lab, which may write to it"):
        load_guest(file)
    assert lab.xl("destroy", "g").exit == 0
    assert load_guest(file).warnings == ()


def test_up_says_what_validate_says(tmp_path: Path) -> None:
    """To the letter, and before anything is started."""
    file = tmp_path / "bad.toml"
    file.write_text(
        '[lab]\nname = "bad"\n[[image]]\npath = "a.img"\nsize = "1M"\nscratch = true\n'
        '[[domain]]\nname = "net"\nrole = "driver"\nprogram = "domains.network:main"\n'
        '[[domain]]\nname = "g"\nprogram = "domains.guests.idle:mian"\n'
        'disk = ["vdev=xvda,backend=net,target=a.img"]\nvif = ["bridge=a-name-of-17-byte"]\n'
    )
    with commands() as hvsim:
        validated, up = hvsim.run("validate", str(file)), hvsim.run("up", str(file))
        assert (up.returncode, up.stderr) == (validated.returncode, validated.stderr)
        assert up.returncode == 1
    for sentence in (
        "disk xvda: backend=net serves network interfaces, not disks; declare a [[domain]]",
        "the module 'domains.guests.idle' has no function 'mian'; did you mean 'main'?",
        "vif 0: bridge=a-name-of-17-byte is no name for a link; use 1 to 15 letters",
    ):
        assert sentence in up.stderr


@pytest.mark.parametrize(
    ("disks", "quota", "text"),
    [
        (31, "", "it serves 31 disks, which take about 1033 nodes of its store; it may have 1000"),
        (29, "", ""),
        (60, "[store.quota]\nnodes = 9000\n", ""),
        (61, "[store.quota]\nnodes = 9000\n", "about 130 watches of its store; it may have 128"),
    ],
)
def test_a_driver_domain_with_too_many_disks(
    tmp_path: Path, disks: int, quota: str, text: str
) -> None:
    """As many as `up` brings to Connected with the quota; README says how it counts."""
    images = "".join(
        f'[[image]]\npath = "{n}.img"\nsize = "1M"\nscratch = true\n' for n in range(disks)
    )
    specs = ", ".join(f'"vdev=d{n}p0,backend=st,target={n}.img"' for n in range(disks))
    file = tmp_path / "many.toml"
    file.write_text(
        f'{quota}{images}[[domain]]\nname = "st"\nrole = "driver"\n'
        f'[[domain]]\nname = "g"\nprogram = "domains.guests.idle:main"\ndisk = [{specs}]\n'
    )
    if not text:
        assert load(file)
        return
    with pytest.raises(LabFileError, match="of its store") as refused:
        load(file)
    assert text in str(refused.value)
