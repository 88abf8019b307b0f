"""Where ours and the real xl differ, with the reason.  Whatever is not listed here is equal:
acceptance, exit code, every line on stderr, every member of the JSON."""

from typing import Final

from tests.config import cases_examples
from tests.config.configs import PLAIN, alone, disk_text

_CPUID: Final = (
    "the bits of a CPUID policy are not read: a program sees the CPU as it is, and validate says "
    "that the key has no effect"
)
_VSND: Final = (
    "what stands in a list of sound cards is not read: there is no such backend, and validate says "
    "that the key has no effect (the real xl refuses even the manual's own example)"
)
_CRASH: Final = "the real xl crashes here; ours refuses, or reads what there is"
_SHARED: Final = (
    "w! is the word of the block scripts for an image that others may have as well; libxl cannot "
    "say it, ours can"
)
_VSND_EXAMPLE: Final = next(lines for lines in cases_examples.LINES if lines.startswith("vsnd"))

REASONS: Final[dict[str, str]] = {
    **{
        alone(line): _CPUID
        for line in (
            'cpuid="host,tm=0,sse3=0"',
            "cpuid=['0:eax=1']",
            "cpuid=['0x1:ecx=0xxx']",
            "cpuid=['0x1:foo=x']",
            "cpuid='host,tm=0,sse3=0'",
            "cpuid='host,zz=0'",
        )
    },
    **{
        alone(lines): _VSND
        for lines in (
            _VSND_EXAMPLE,
            "vsnd=[['card, short-name=Main, buffer-size=65536','PCM, name=Main',"
            "'stream, id=0, type=p, channels-max=2']]",
        )
    },
    **{
        alone(line): _CRASH
        for line in ("channel=['']", "vdispl=['connectors=a']", 'extra = "a\0b"')
    },
    **{disk_text(spec): _SHARED for spec in ("phy:/a,xvda,w!", "phy:/dev/zero,xvda,w!")},
}
"""Config -> why."""
assert all(text.startswith(PLAIN) for text in REASONS)
