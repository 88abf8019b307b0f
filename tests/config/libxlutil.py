"""libxlutil, the library in which xl parses configs, asked many thousand times a second.

``python -m tests.config.libxlutil`` reads rows of JSON, ["config", text, [key, ...]] or
["disk", [spec, ...]], and answers each with [errno, text on stderr, values].  A process of its own,
because the library ends the one that it is in where its scanner is stuck.
"""

import ctypes
import json
import sys
from typing import Any, Final

LIBRARIES: Final = ("libxlutil.so.4.17", "libxenlight.so.4.17")
SOURCE: Final = b"c"
_EINVAL: Final = 22
_FORMATS: Final = (None, "qcow", "qcow2", "vhd", "raw", "empty", "qed")
_BACKENDS: Final = (None, "phy", "tap", "qdisk", "standalone")
_SPECIFICATIONS: Final = (None, "xen", "virtio")
_DEFBOOL: Final = {0: None, 1: True, -1: False}


class Disk(ctypes.Structure):
    """struct libxl_device_disk."""

    _fields_ = (
        ("backend_domid", ctypes.c_uint32),
        ("backend_domname", ctypes.c_char_p),
        ("pdev_path", ctypes.c_char_p),
        ("vdev", ctypes.c_char_p),
        ("backend", ctypes.c_int),
        ("format", ctypes.c_int),
        ("script", ctypes.c_char_p),
        ("removable", ctypes.c_int),
        ("readwrite", ctypes.c_int),
        ("is_cdrom", ctypes.c_int),
        ("direct_io_safe", ctypes.c_bool),
        ("discard_enable", ctypes.c_int),
        ("specification", ctypes.c_int),
        ("transport", ctypes.c_int),
        ("irq", ctypes.c_uint32),
        ("base", ctypes.c_uint64),
        ("colo", ctypes.c_byte * 64),
    )


class Library:
    """The two libraries, and stderr in memory."""

    def __init__(self) -> None:
        """Raises: OSError when they are not there."""
        self._libxl = ctypes.CDLL(LIBRARIES[1], mode=ctypes.RTLD_GLOBAL)
        self._xlu = ctypes.CDLL(LIBRARIES[0])
        self._libc = ctypes.CDLL(None)
        pointer = ctypes.c_void_p
        self._libc.open_memstream.restype = pointer
        self._libc.fclose.argtypes = self._libc.free.argtypes = [pointer]
        self._xlu.xlu_cfg_init.restype = pointer
        self._xlu.xlu_cfg_init.argtypes = [pointer, ctypes.c_char_p]
        self._xlu.xlu_cfg_readdata.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int]
        self._xlu.xlu_cfg_destroy.argtypes = [pointer]
        self._xlu.xlu_cfg_get_string.argtypes = [pointer, ctypes.c_char_p, pointer, ctypes.c_int]
        self._xlu.xlu_cfg_get_list.argtypes = [
            *(pointer, ctypes.c_char_p, pointer, pointer, ctypes.c_int)
        ]
        self._xlu.xlu_cfg_get_listitem2.restype = pointer
        self._xlu.xlu_cfg_get_listitem2.argtypes = [pointer, ctypes.c_int]
        self._xlu.xlu_cfg_value_type.argtypes = [pointer]
        for name in ("string", "list"):
            getter = getattr(self._xlu, f"xlu_cfg_value_get_{name}")
            getter.argtypes = [pointer, pointer, pointer, ctypes.c_int]
        self._xlu.xlu_disk_parse.argtypes = [pointer, ctypes.c_int, pointer, pointer]
        self._libxl.libxl_device_disk_init.argtypes = [pointer]

    def config(self, text: str, keys: list[str]) -> list[Any]:
        """[errno, stderr, {key: value}] of a config."""
        data = text.encode("utf-8", "surrogateescape")
        stream = _Stream(self._libc)
        cfg = self._xlu.xlu_cfg_init(stream.file, SOURCE)
        code = self._xlu.xlu_cfg_readdata(cfg, data, len(data))
        values = {key: self._value_of(cfg, key) for key in keys} if code == 0 else {}
        self._xlu.xlu_cfg_destroy(cfg)
        return [code, stream.close(), {k: v for k, v in values.items() if v is not None}]

    def _value_of(self, cfg: int, key: str) -> Any:
        text, rows, count = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_int()
        name = key.encode()
        code = self._xlu.xlu_cfg_get_string(cfg, name, ctypes.byref(text), 1)
        if code == 0:
            return (text.value or b"").decode("utf-8", "surrogateescape")
        if code != _EINVAL:
            return None
        self._xlu.xlu_cfg_get_list(cfg, name, ctypes.byref(rows), ctypes.byref(count), 1)
        return [
            self._value(cfg, self._xlu.xlu_cfg_get_listitem2(rows, number))
            for number in range(count.value)
        ]

    def _value(self, cfg: int, value: int) -> Any:
        if self._xlu.xlu_cfg_value_type(value) == 0:
            text = ctypes.c_char_p()
            self._xlu.xlu_cfg_value_get_string(cfg, value, ctypes.byref(text), 1)
            return (text.value or b"").decode("utf-8", "surrogateescape")
        rows, found, number = ctypes.c_void_p(), [], 0
        self._xlu.xlu_cfg_value_get_list(cfg, value, ctypes.byref(rows), 1)
        while item := self._xlu.xlu_cfg_get_listitem2(rows, number):
            found.append(self._value(cfg, item))
            number += 1
        return found

    def disk(self, specs: list[str]) -> list[Any]:
        """[errno, stderr, members] of a disk."""
        stream = _Stream(self._libc)
        cfg = self._xlu.xlu_cfg_init(stream.file, SOURCE)
        disk = Disk()
        self._libxl.libxl_device_disk_init(ctypes.byref(disk))
        words = (ctypes.c_char_p * len(specs))(*(spec.encode() for spec in specs))
        code = self._xlu.xlu_disk_parse(cfg, len(specs), words, ctypes.byref(disk))
        self._xlu.xlu_cfg_destroy(cfg)
        return [code, stream.close(), _members(disk) if code == 0 else {}]


def _members(disk: Disk) -> dict[str, Any]:
    texts = {name: getattr(disk, name) for name in ("vdev", "pdev_path", "script")}
    texts["backend"] = disk.backend_domname
    return {
        **{name: text if text is None else text.decode() for name, text in texts.items()},
        "format": _FORMATS[disk.format],
        "backendtype": _BACKENDS[disk.backend],
        "specification": _SPECIFICATIONS[disk.specification],
        "readwrite": disk.readwrite,
        "cdrom": disk.is_cdrom,
        "removable": disk.removable,
        "direct_io_safe": disk.direct_io_safe,
        "discard": _DEFBOOL[disk.discard_enable],
    }


class _Stream:
    """A FILE in memory."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._text, self._size = ctypes.c_char_p(), ctypes.c_size_t()
        self.file = libc.open_memstream(ctypes.byref(self._text), ctypes.byref(self._size))

    def close(self) -> str:
        self._libc.fclose(self.file)
        text = ctypes.string_at(self._text, self._size.value)
        self._libc.free(self._text)
        return text.decode("utf-8", "surrogateescape")


def main() -> None:
    """Answer every row."""
    library = Library()
    for line in sys.stdin:
        kind, *args = json.loads(line)
        print(json.dumps(getattr(library, kind)(*args)))


if __name__ == "__main__":
    main()
