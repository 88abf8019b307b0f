"""Attempts on other processes, paths, sockets and the kernel, by raw system calls."""

import ctypes
import os
import signal
import socket
import stat
import struct
import threading
from typing import TYPE_CHECKING, Any, Final

from hvsim.domain import Domain
from hvsim.linux.syscalls import prctl, syscall
from tests.hostile.programs.bystanders import SECRET

if TYPE_CHECKING:
    from tests.hostile.programs.rogue import Scene

_PTRACE_TRACEME: Final = 0
_PTRACE_SEIZE: Final = 0x4206


def inherited(_dom: Domain) -> str:
    """Every open descriptor must be one's own: log, null, the connection, event plumbing."""
    sockets, strangers = 0, []
    for fd in range(1024):
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            sockets += 1
        elif (
            kind in (stat.S_IFDIR, stat.S_IFIFO, stat.S_IFBLK)
            or (kind == stat.S_IFREG and fd > 2 and status.st_nlink)  # a memfd has no link
            or (kind == stat.S_IFCHR and status.st_rdev != os.makedev(1, 3))  # /dev/null
        ):
            strangers.append(fd)
    return "own only" if sockets == 1 and not strangers else f"{sockets} sockets, {strangers}"


def _iovec(buffer: Any, address: int, size: int) -> tuple[int, int, Any]:
    local = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), size))
    remote = ctypes.create_string_buffer(struct.pack("=QQ", address, size))
    return ctypes.addressof(local), ctypes.addressof(remote), (local, remote)


def vm_readv(scene: "Scene") -> str | None:
    buffer = ctypes.create_string_buffer(len(SECRET))
    local, remote, _keep = _iovec(buffer, scene.facts["address"], len(SECRET))
    syscall("process_vm_readv", scene.facts["victim_pid"], local, 1, remote, 1, 0)
    return None if buffer.raw == SECRET else "read something else"


def vm_writev(scene: "Scene") -> None:
    buffer = ctypes.create_string_buffer(SECRET, len(SECRET))  # what stands there already
    local, remote, _keep = _iovec(buffer, scene.facts["address"], len(SECRET))
    syscall("process_vm_writev", scene.facts["victim_pid"], local, 1, remote, 1, 0)


def proc_mem(scene: "Scene") -> str | None:
    fd = os.open(f"/proc/{scene.facts['victim_pid']}/mem", os.O_RDWR)
    try:
        data = os.pread(fd, len(SECRET), scene.facts["address"])
    finally:
        os.close(fd)
    return None if data == SECRET else "read something else"


def proc_fd(scene: "Scene") -> None:
    path = f"/proc/{scene.facts['victim_pid']}/fd"
    for name in os.listdir(path):
        os.readlink(f"{path}/{name}")


def proc_maps_of_hypervisor(scene: "Scene") -> None:
    os.close(os.open(f"/proc/{scene.facts['hypervisor_pid']}/maps", os.O_RDONLY))


def seize_sibling(scene: "Scene") -> None:
    syscall("ptrace", _PTRACE_SEIZE, scene.facts["victim_pid"], 0, 0)


def seize_hypervisor(scene: "Scene") -> None:
    syscall("ptrace", _PTRACE_SEIZE, scene.facts["hypervisor_pid"], 0, 0)


def trace_me(scene: "Scene") -> str | None:
    if scene.facts["weakened"]:
        return "not tried"  # the spawner would become our tracer, and nobody learns from it
    syscall("ptrace", _PTRACE_TRACEME, 0, 0, 0)
    return None


def _deadly(scene: "Scene") -> int:
    """SIGKILL where walls stand; where a test took them away, only the question."""
    return 0 if scene.facts["weakened"] else signal.SIGKILL


def kill_sibling(scene: "Scene") -> None:
    os.kill(scene.facts["victim_pid"], _deadly(scene))


def kill_hypervisor(scene: "Scene") -> None:
    os.kill(scene.facts["hypervisor_pid"], _deadly(scene))


def tgkill_sibling(scene: "Scene") -> None:
    pid = scene.facts["victim_pid"]
    syscall("tgkill", pid, pid, _deadly(scene))


def kill_everybody(scene: "Scene") -> None:
    syscall("kill", -1, _deadly(scene))


def kill_by_pidfd(scene: "Scene") -> None:
    fd = os.pidfd_open(scene.facts["victim_pid"])
    signal.pidfd_send_signal(fd, _deadly(scene))


def steal_descriptor(scene: "Scene") -> None:
    """The victim's hypercall connection: with it, one *is* the victim."""
    fd = syscall("pidfd_open", scene.facts["victim_pid"], 0)
    os.close(syscall("pidfd_getfd", fd, 3, 0))


def steal_descriptor_unseen(_scene: "Scene") -> None:
    syscall("pidfd_getfd", 0, 3, 0)


def compare_descriptors(scene: "Scene") -> None:
    syscall("kcmp", scene.facts["victim_pid"], os.getpid(), 0, 3, 3)


def lower_siblings_limits(scene: "Scene") -> None:
    syscall("prlimit64", scene.facts["victim_pid"], 7, 0, 0)


def outlive_the_lab(scene: "Scene") -> None:
    prctl(1, 0)
    if scene.facts["weakened"]:
        prctl(1, signal.SIGKILL)  # nothing may be left behind, even then


def foreign_image(scene: "Scene") -> None:
    os.close(os.open(scene.facts["image"], os.O_RDONLY))


def foreign_image_writable(scene: "Scene") -> None:
    os.close(os.open(scene.facts["image"], os.O_RDWR))


def list_run_directory(scene: "Scene") -> None:
    os.listdir(os.path.dirname(scene.facts["image"]))


def password_file(_scene: "Scene") -> None:
    os.close(os.open("/etc/passwd", os.O_RDONLY))


def own_code(_scene: "Scene") -> None:
    import hvsim

    os.close(os.open(str(hvsim.__file__), os.O_WRONLY | os.O_APPEND))


def create_file(_scene: "Scene") -> None:
    os.close(os.open("/tmp/hvsim-rogue", os.O_CREAT | os.O_WRONLY))
    os.unlink("/tmp/hvsim-rogue")


def store_socket(scene: "Scene") -> None:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(scene.facts["socket"])


def store_socket_by_pair(scene: "Scene") -> None:
    """A datagram pair can be aimed at a path by sendmsg, which no filter can see."""
    left, _right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.sendmsg([b"x"], [], 0, scene.facts["datagram"])


def store_socket_from_connection(scene: "Scene") -> None:
    """The hypercall socket is a Unix socket too."""
    socket.socket(fileno=os.dup(3)).connect(scene.facts["socket"])


def abstract_socket(scene: "Scene") -> None:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(b"\0" + scene.facts["abstract"].encode())


def network(_scene: "Scene") -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def new_user_namespace(_scene: "Scene") -> None:
    syscall("unshare", 0x1000_0000)


def mount_something(scene: "Scene") -> str | None:
    if scene.facts["weakened"]:
        return "not tried"  # it would be the host's /tmp
    kind = ctypes.create_string_buffer(b"tmpfs")
    where = ctypes.create_string_buffer(b"/tmp")
    syscall("mount", ctypes.addressof(kind), ctypes.addressof(where), ctypes.addressof(kind), 0, 0)
    return None


def another_process(_scene: "Scene") -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def another_thread(_scene: "Scene") -> str | None:
    thread = threading.Thread(target=lambda: None)
    try:
        thread.start()
    except RuntimeError:
        return "EPERM"
    thread.join()
    return None


def run_a_program(_scene: "Scene") -> None:
    os.posix_spawn("/bin/true", ["true"], {})


def become_a_program(scene: "Scene") -> str | None:
    if scene.facts["weakened"]:
        return "not tried"
    os.execv("/bin/true", ["true"])


def _refused_calls(scene: "Scene") -> str | None:
    """Calls that have no business in a guest, with arguments that do no harm anywhere."""
    if scene.facts["weakened"]:
        return "not tried"
    lines = (
        "bpf perf_event_open keyctl add_key userfaultfd io_uring_setup io_uring_enter",
        "io_uring_register memfd_create memfd_secret kexec_load init_module finit_module",
        "open_by_handle_at setns pivot_root swapon reboot fanotify_init personality shmget",
        "semget msgget mq_open",
    )
    passed = []
    for name in (name for line in lines for name in line.split()):
        try:
            syscall(name, 0, 0, 0, 0, 0)
            passed.append(name)
        except PermissionError:
            continue
        except OSError as error:
            passed.append(f"{name}: {error}")
    return "EPERM" if not passed else ", ".join(passed)


def more_descriptors(_scene: "Scene") -> str | None:
    """Take all the descriptors there are: they must end at one's own limit."""
    taken: list[int] = []
    try:
        while len(taken) < 100_000:
            taken.append(os.eventfd(0))
    finally:
        for fd in taken:
            os.close(fd)
    return None


ATTEMPTS: Final = {
    "process_vm_readv of a sibling": vm_readv,
    "process_vm_writev of a sibling": vm_writev,
    "/proc/PID/mem of a sibling": proc_mem,
    "/proc/PID/fd of a sibling": proc_fd,
    "/proc/PID/maps of the hypervisor": proc_maps_of_hypervisor,
    "ptrace a sibling": seize_sibling,
    "ptrace the hypervisor": seize_hypervisor,
    "ptrace TRACEME": trace_me,
    "kill a sibling": kill_sibling,
    "kill the hypervisor": kill_hypervisor,
    "tgkill a sibling": tgkill_sibling,
    "kill everybody": kill_everybody,
    "kill a sibling by pidfd": kill_by_pidfd,
    "pidfd_getfd of a sibling's connection": steal_descriptor,
    "pidfd_getfd by number": steal_descriptor_unseen,
    "kcmp with a sibling": compare_descriptors,
    "prlimit of a sibling": lower_siblings_limits,
    "unset the death signal": outlive_the_lab,
    "open a foreign disk image": foreign_image,
    "open a foreign disk image to write": foreign_image_writable,
    "list the run directory": list_run_directory,
    "read /etc/passwd": password_file,
    "write to the interpreter's packages": own_code,
    "create a file": create_file,
    "connect to a socket in the run directory": store_socket,
    "the same by a datagram pair": store_socket_by_pair,
    "the same with the hypercall socket": store_socket_from_connection,
    "connect to an abstract socket": abstract_socket,
    "open a network socket": network,
    "make a user namespace": new_user_namespace,
    "mount a filesystem": mount_something,
    "fork": another_process,
    "start a thread": another_thread,
    "spawn a program": run_a_program,
    "exec a program": become_a_program,
    "kernel calls of no use to a guest": _refused_calls,
    "exhaust descriptors": more_descriptors,
}
