"""Sets of CPUs: bit n of a mask is CPU n (xenctl_bitmap in xen/xen.h), and how Xen prints them."""


def numbers(mask: int) -> list[int]:
    """The CPUs of a mask."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def ranges(mask: int) -> str:
    """A mask as Xen prints it: ``0-1,3``."""
    found: list[list[int]] = []
    for number in numbers(mask):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in found)
