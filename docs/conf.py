"""How the site is built: `make docs`.  Needs no network; every warning is an error."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.made import pages  # noqa: E402 - the path comes first
from hvsim import __version__  # noqa: E402

project = "hvsim"
author = "hvsim authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser"]
smartquotes = False  # "--lab" is typed as it stands
html_theme = "furo"
html_title = "hvsim"
myst_heading_anchors = 3

pages.write(ROOT / "docs" / "reference")
