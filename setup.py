"""What pyproject.toml cannot say: the two optional pieces in C, and what a wheel has of the tree.

``hvsim._native`` is a module of Python.  ``hvsim/devnodes/libhvsim-nodes.so`` is none: it is
preloaded into programs of the machine (see hvsim/devnodes/library/nodes.h) and linked to nothing of
Python's.  Without a compiler the build goes on: the pure-Python twins in hvsim/domain serve instead
of the first, and without the second programs of the machine have no device nodes.

``domains/``, ``configs/`` and ``scenarios/`` are at the top of the tree, where a reader looks for
them; they would be strangers at the top of everybody's site-packages. In a wheel they lie in
``hvsim/shipped``, where ``hvsim/__init__.py`` finds them.
"""

import shutil
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

NODES = "hvsim.devnodes.libhvsim-nodes"
WARNINGS = ["-O2", "-std=c11", "-Wall", "-Wextra"]
SHIPPED = {"domains": "*.py", "configs": "*.*", "scenarios": "*.toml"}


class Modules(build_py):
    """Puts the programs and labs to start from into the package; not where the tree itself is
    installed, which has them."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # of a build of other files
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        shipped = [] if self.editable_mode else [str(target) for _, target in self._shipped()]
        return [*super().get_outputs(include_bytecode), *shipped]

    def _shipped(self) -> list[tuple[Path, Path]]:
        below = Path(self.build_lib, "hvsim", "shipped")
        files = [file for top, kind in SHIPPED.items() for file in sorted(Path(top).rglob(kind))]
        return [(file, below / file) for file in files if file.is_file()]


class Build(build_ext):
    """Gives the plain library its plain name."""

    def get_ext_filename(self, fullname: str) -> str:
        if fullname == NODES or fullname == NODES.rpartition(".")[2]:
            return fullname.replace(".", "/") + ".so"
        return str(super().get_ext_filename(fullname))


setup(
    cmdclass={"build_py": Modules, "build_ext": Build},
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
