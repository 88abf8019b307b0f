"""What a failed lab leaves behind, for those who seldom need it: `autopsy`, imported when it is."""

from hvsim.lab.rundir import RunDir


def gather(run: RunDir) -> dict[str, bytes]:
    """The files of a post-mortem, by name; the most telling first."""
    from hvsim.observe import autopsy

    return autopsy.gather(run)
