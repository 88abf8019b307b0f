"""The split block driver: blkfront in a guest, blkback in dom0 or a driver domain.

Guest programs use the `Disk` that `BlockFront.open` finds; `BlockBack` serves a frontend from an
image file or a block device.  Between them is nothing but the public blkif ABI (xen/io/blkif.h).

    front.py     handshake and life                      back.py      handshake and life
    disk.py      what programs do with it                image.py     the file or device behind
    queue.py     requests until they are answered        service.py   requests until they are done
    ring.py, features.py, statistics.py, protocol.py     of both halves
    sources.py, stacked.py, lock.py, hotplug.py          from `params` to a device
"""
