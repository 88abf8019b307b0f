"""What people call things: one parser for each kind of name, which every part of the house uses.

    vdev.py       disks as the guest knows them: "xvda" <-> 51712
    mac.py        addresses of network interfaces
    address.py    IP addresses with or without a length
    size.py       memory and images: "64M"
    domain.py     domains: which names are fit, and what means dom0
    machine.py    uuids
    number.py     numbers that stand in the store as text

Pure: no name is looked up here.
"""
