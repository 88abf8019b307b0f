"""The examples of xl.cfg(5), xl-disk-configuration(5), xl-network-configuration(5) and
xl-pci-configuration(5)."""

from typing import Final

DISKS: Final = (
    "/dev/vg/guest-volume,,hda",
    "/dev/vg/guest-volume,raw,hda,rw",
    "format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume",
    "raw:/dev/vg/guest-volume,hda,w",
    "/root/image.iso,,hdc,cdrom",
    "/root/image.iso,,hdc,,cdrom",
    "/root/image.iso,raw,hdc,devtype=cdrom",
    "format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso",
    "raw:/root/image.iso,hdc:cdrom,ro",
    ",hdc:cdrom,r",
    "tap:aio:/some/path,xvda,w",
    "format=raw, vdev=xvda, access=rw, target=/srv/img/a.img",
)
"""Specifications of disks."""

VIFS: Final = (
    "mac=00:16:3E:74:3d:76,model=rtl8139,bridge=xenbr0",
    "mac=00:16:3E:74:34:32",
    "",
    "mac=00:16:3e:5f:48:e4,bridge=xenbr1",
    "rate=10Mb/s",
    "rate=250KB/s",
    "rate=1MB/s@20ms",
)
"""Specifications of interfaces."""

LINES: Final = (
    'type="pv"',
    'type="hvm"',
    'type="hvm"; name="h0"',
    'builder="generic"',
    'builder="hvm"',
    'cpus="all"\nvcpus=2',
    'cpus="0-3,5,^1"\nvcpus=2',
    'cpus="all,^7"\nvcpus=2',
    'cpus="nodes:0-3,^node:2"\nvcpus=2',
    'cpus="1,node:1,^6"\nvcpus=2',
    'cpus="all,^node:1"\nvcpus=2',
    'cpus=["2", "3-8,^5"]\nvcpus=2',
    'vnuma = [ ["pnode=0","size=512","vcpus=0-4","vdistances=10,20"] ]',
    'disk = [ "/dev/vg/guest-volume,,hda", "/root/image.iso,,hdc,cdrom" ]',
    'vif = [ "mac=00:16:3E:74:34:32", "mac=00:16:3e:5f:48:e4,bridge=xenbr1" ]',
    'usbctrl=["version=1,ports=4", "version=2,ports=8"]',
    'usbdev=["type=hostdev,hostbus=1,hostaddr=3"]',
    'pci = [ "36:00.0@20,seize=1" ]',
    'pci = [ "36:00.0,vslot=20,seize=1" ]',
    'pci = [ "bdf=36:00.0,vslot=20,seize=1" ]',
    'pci = [ "36:00.0, rdm_policy=strict" ]',
    'rdm = "strategy=host,policy=strict"',
    'ioports=["2f8-2ff", "3f0"]',
    'iomem=["f0000000,10", "f0000,10@a0000"]',
    "irqs=[4, 7]",
    'channel = [ "connection=socket,path=/var/run/test,name=n" ]',
    'channel = [ "connection=pty,name=org.my.ch" ]',
    'p9=["tag=share,path=/srv,security_model=none"]',
    'pvcalls=["backend=0"]',
    'vtpm=["backend=vtpm,uuid=d8ac4a1e-f6c2-4d1b-9a3b-000000000001"]',
    'vdispl=["connectors=id0:1920x1080;id1:800x600;id2:640x480"]',
    'vfb=["vnc=1,vnclisten=127.0.0.1:1,vncunused=1"]',
    'vkb=["backend-type=qemu"]',
    'cpuid="host,tm=0,sse3=0"',
    'vuart = "sbsa_uart"',
    'firmware="pvgrub64"',
    "vsnd = [\n ['CARD, short-name=Main, sample-formats=s16_le;s8;u32_be',\n  'PCM, name=Main',\n  'STREAM, id=0, type=p',\n  'STREAM, id=1, type=c, channels-max=2'\n ],\n ['CARD, short-name=Second',\n  'PCM, name=Second, buffer-size=1024',\n  'STREAM, id=2, type=p',\n  'STREAM, id=3, type=c'\n ]\n]",  # noqa: E501
    'tsc_mode="native"',
    'on_crash="coredump-restart"',
    "driver_domain=1",
    "max_event_channels=1023",
    "nomigrate=1",
    'passthrough="disabled"',
    'dtdev=["/soc/ethernet@ff0e0000"]',
)
"""Lines of a PV guest's config."""

HVM_LINES: Final = (
    'viridian=["all", "!freq"]',
    'usb=1\nusbdevice=["tablet"]',
    'usbdevice=["host:8.2"]',
    'bios="rombios"\ndevice_model_version="qemu-xen-traditional"',
    'vga="stdvga"',
    'vga="cirrus"',
    'boot="dc"',
    'serial=["pty", "null"]',
    'firmware="uefi"',
    'firmware="seabios"',
    'firmware="rombios"',
    'firmware="ovmf"',
    'firmware="bios"',
    'ms_vm_genid="none"',
    'mca_caps=["lmce"]',
)
"""Lines of an HVM guest's config."""
