"""The split block driver: blkfront in a guest, blkback in dom0 or a driver domain.

`BlockFront` is what guest programs use; `BlockBack` serves a frontend from an image file or a
block device.  Between them is nothing but the public blkif ABI (xen/io/blkif.h).

    front.py     handshake and the guest's interface     back.py      handshake and life
    queue.py     requests until they are answered        engine.py    requests until they are done
    pool.py      pages granted to the backend            mapped.py    pages mapped from the frontend
                                                         image.py     the file or device behind
    protocol.py  what both know                          hotplug.py   from `params` to a device
"""
