"""The disk of a virtual machine: a Debian with its own kernel and boot loader, made once and cached."""

import shutil
import subprocess
from pathlib import Path

from . import base, place

PACKAGES = [
    *base.PACKAGES, "linux-image-cloud-amd64", "initramfs-tools", "kmod", "zstd", "grub-pc-bin", "grub2-common",
    "fdisk",
]  # fmt: skip

GIGABYTES = 4

NETWORK = """[Match]
Name=e*
[Network]
Address={address}/16
Gateway={gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""

# A processor in software is slow: nothing is loaded, probed or waited for that this machine doesn't have.
INITRAMFS = "MODULES=list\nCOMPRESS=zstd\n"
INITRAMFS_MODULES = "virtio_pci\nvirtio_blk\next4\n"
TIMEOUTS = "[Manager]\nDefaultTimeoutStartSec=5min\nDefaultDeviceTimeoutSec=5min\n"
MASKED = ["systemd-networkd-wait-online.service", "getty@tty1.service"]

GRUB = 'GRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="console=ttyS0"\n'

# The first menu; the machine writes Debian's own with its first boot.
MENU = "set timeout=0\nmenuentry Debian {\n  linux /vmlinuz root=LABEL=rig-root ro console=ttyS0\n  initrd /initrd.img\n}\n"

# Partition, file system, boot loader. grub-install wants the partition's own device, which not every kernel
# makes for a loop device; these are its steps: the first sector loads the second, which is grub's core.
DISK = """set -e
truncate -s {gigabytes}G {here}/disk.img
echo 'start=2048, type=83, bootable' | sfdisk --quiet --label dos {here}/disk.img
mkfs.ext4 -q -L rig-root -E offset=1048576 -d {here}/root {here}/disk.img $(( {gigabytes} * 1048576 - 1024 ))k
mkdir {here}/mnt
mount -o loop,offset=1048576 {here}/disk.img {here}/mnt
cp -r {here}/mnt/usr/lib/grub/i386-pc {here}/mnt/boot/grub/
chroot {here}/mnt grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk part_msdos ext2
dd if={here}/mnt/boot/grub/i386-pc/boot.img of={here}/disk.img bs=440 count=1 conv=notrunc
dd if={here}/mnt/boot/grub/i386-pc/core.img of={here}/disk.img bs=512 seek=1 conv=notrunc
umount {here}/mnt
"""


def folder(name: str, suite: str) -> Path:
    """A machine's clean disk and the keys that it was made with; made in some minutes when it isn't there."""
    recipe = Path(__file__).read_bytes() + Path(base.__file__).read_bytes()
    return place.cached(f"vm-{suite}", recipe, lambda making: _make(name, suite, making))


def _make(name: str, suite: str, making: Path) -> None:
    log = place.state() / "logs" / "image.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"rig: making a virtual machine of Debian {suite} (some minutes, once)", flush=True)
    root = making / "root"
    with open(log, "wb") as out:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "check": True}
        include = f"--include={','.join(PACKAGES)}"
        subprocess.run(["debootstrap", "--variant=minbase", include, suite, str(root), base.mirror()], **quiet)
        base._settle(root)
        _settle(name, root, making)
        subprocess.run(["chroot", str(root), "update-initramfs", "-u"], **quiet)
        script = DISK.format(here=making, gigabytes=GIGABYTES)
        subprocess.run(["unshare", "--mount", "bash", "-c", script], **quiet)
    shutil.rmtree(root)
    (making / "mnt").rmdir()


def _settle(name: str, root: Path, making: Path) -> None:
    """Writes what tells a machine from the rig's other hosts."""
    for key, comment in (("id", "rig"), ("host", name)):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(making / key)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    for suffix in ("", ".pub"):
        shutil.copy(making / f"host{suffix}", root / f"etc/ssh/ssh_host_ed25519_key{suffix}")
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(making / "id.pub", ssh / "authorized_keys")
    files = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {name}\n",
        "etc/fstab": "LABEL=rig-root / ext4 errors=remount-ro 0 1\n",
        "etc/systemd/network/rig.network": NETWORK.format(address=place.address(name), gateway=place.BRIDGE),
        "etc/initramfs-tools/conf.d/rig": INITRAMFS,
        "etc/initramfs-tools/modules": INITRAMFS_MODULES,
        "etc/default/grub": GRUB,
        "etc/systemd/system.conf.d/rig.conf": TIMEOUTS,
        "boot/grub/grub.cfg": MENU,
        "etc/rig-host": f"{name}\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    run = lambda *argv: subprocess.run(["chroot", str(root), *argv], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    # nspawn's hosts need it; here the kernel is the machine's own.
    run("systemctl", "disable", "rig-sysctl.service")
    (root / "etc/systemd/system/rig-sysctl.service").unlink()
    run("systemctl", "enable", "systemd-networkd.service", "ssh.service")
    run("systemctl", "mask", *MASKED)
