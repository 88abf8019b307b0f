"""The one part that pyproject.toml cannot say: the optional compiled helper.

Without a compiler the build goes on, and the pure-Python twins in hvsim/domain serve.
"""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "hvsim._native",
            sources=sorted(glob("hvsim/native/*.c")),
            depends=sorted(glob("hvsim/native/*.h")),
            extra_compile_args=["-O2", "-std=c11", "-Wall", "-Wextra"],
            optional=True,
        )
    ]
)
