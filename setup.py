"""What pyproject.toml cannot say: the two optional pieces in C.

``hvsim._native`` is a module of Python.  ``hvsim/devnodes/libhvsim-nodes.so`` is none: it is
preloaded into programs of the machine (see hvsim/devnodes/library/nodes.h) and linked to nothing of
Python's.  Without a compiler the build goes on: the pure-Python twins in hvsim/domain serve instead
of the first, and without the second programs of the machine have no device nodes.
"""

from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NODES = "hvsim.devnodes.libhvsim-nodes"
WARNINGS = ["-O2", "-std=c11", "-Wall", "-Wextra"]


class Build(build_ext):
    """Gives the plain library its plain name."""

    def get_ext_filename(self, fullname: str) -> str:
        if fullname == NODES or fullname == NODES.rpartition(".")[2]:
            return fullname.replace(".", "/") + ".so"
        return str(super().get_ext_filename(fullname))


setup(
    cmdclass={"build_ext": Build},
    ext_modules=[
        Extension(
            "hvsim._native",
            sources=sorted(glob("hvsim/native/*.c")),
            depends=sorted(glob("hvsim/native/*.h")),
            extra_compile_args=WARNINGS,
            optional=True,
        ),
        Extension(
            NODES,
            sources=sorted(glob("hvsim/devnodes/library/*.c")),
            depends=sorted(glob("hvsim/devnodes/library/*.h")),
            extra_compile_args=[*WARNINGS, "-fvisibility=hidden"],
            libraries=["dl"],
            optional=True,
        ),
    ],
)
