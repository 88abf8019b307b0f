"""Images that the lab file declares with a size are made: sparse, and only where none exists."""

import os

from hvsim.lab.model import Image, Lab
from hvsim.lab.problems import HvsimError
from hvsim.lab.rundir import RunDir


class ImageError(HvsimError):
    """An image cannot be made."""


def make_images(lab: Lab, run: RunDir) -> None:
    """Make every scratch image, and every sized image that does not exist yet."""
    for image in lab.images:
        if image.size is not None:
            _make(image, run)


def _make(image: Image, run: RunDir) -> None:
    path = image.location(run.images)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return  # not ours to change
    except OSError as error:
        raise ImageError(f"image {image.name}: {path}: {error.strerror}") from None
    try:
        os.truncate(fd, image.size or 0)
    except OSError as error:
        os.unlink(path)
        raise ImageError(f"image {image.name}: {path}: {error.strerror}") from None
    finally:
        os.close(fd)
