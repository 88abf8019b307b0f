"""Images that the lab file declares with a size are made: sparse, and only where none exists."""

import os
from pathlib import Path
from typing import Final

from hvsim import shortage
from hvsim.errors import HvsimError
from hvsim.lab.model import Image, Lab
from hvsim.lab.rundir import RunDir

QEMU_IMG: Final = "qemu-img"
INSTALL: Final = "install Debian's qemu-utils (apt install qemu-utils)"
_TIMEOUT: Final = 60.0


def make_images(lab: Lab, run: RunDir) -> None:
    """Make every scratch image, and every sized image that does not exist yet."""
    for image in lab.images:
        if image.size is not None:
            _make(image, run)


def _make(image: Image, run: RunDir) -> None:
    path = image.location(run.images)
    if image.format != "raw":
        if not os.path.lexists(path):
            _make_with_qemu(image, path)
        return
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return  # not ours to change
    except OSError as error:
        raise HvsimError(f"image {image.name}: {path}: {_reason(error, path)}") from None
    try:
        os.truncate(fd, image.size or 0)
    except OSError as error:
        os.unlink(path)
        raise HvsimError(f"image {image.name}: {path}: {_reason(error, path)}") from None
    finally:
        os.close(fd)


def _reason(error: OSError, path: Path) -> str:
    return shortage.told(error, str(path)) or error.strerror or "it cannot be made"


def _make_with_qemu(image: Image, path: Path) -> None:
    import subprocess  # few labs have such an image, and who checks one makes none

    argv = [QEMU_IMG, "create", "-q", "-f", image.format, str(path), str(image.size)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False, umask=0o077
        )
    except FileNotFoundError:
        raise HvsimError(f"image {image.name}: there is no {QEMU_IMG}: {INSTALL}") from None
    except subprocess.TimeoutExpired:
        raise HvsimError(f"image {image.name}: {QEMU_IMG} took more than {_TIMEOUT:g} s") from None
    if done.returncode:
        path.unlink(missing_ok=True)
        raise HvsimError(f"image {image.name}: {done.stderr.strip()}")
