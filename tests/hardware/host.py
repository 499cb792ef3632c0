"""What `sign-off` and `measure-latency` ask of the host that they run on."""
import datetime
import os
import pathlib
import platform
import re
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent


class HostLacks(Exception):
    pass


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def output_of(words, **more):
    """(exit status, standard output and error) of a short command; (None, why) if it can't run."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120, check=False, **more)
        return done.returncode, done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)


# --- facts of the host ------------------------------------------------------------

def cpu_model(cpuinfo):
    names = re.findall(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    if names:
        return names[0]
    fields = {key: value for key, value in re.findall(r"^(CPU \w+)\s*:\s*(.*)$", cpuinfo, re.M)}
    board = read("/proc/device-tree/model") or read("/sys/class/dmi/id/product_name")
    parts = [f"{key} {value}" for key, value in fields.items()]
    return ", ".join(([board] if board else []) + parts) or "unknown"


def virtualisation(cpuinfo):
    """What this host itself runs in; "" for bare metal."""
    status, text = output_of(["systemd-detect-virt", "--vm"])
    if status is not None:
        kind = text.strip().splitlines()[-1] if text.strip() else ""
        return "" if kind == "none" else kind
    flags = re.findall(r"^flags\s*:(.*)$", cpuinfo, re.M)
    if flags and "hypervisor" in flags[0].split():
        return "a hypervisor (CPU flag)"
    return "a hypervisor (device tree)" if os.path.exists("/proc/device-tree/hypervisor") else ""


def kvm_parameters():
    return {f"{path.parts[3]}.{path.name}": read(path)
            for path in sorted(pathlib.Path("/sys/module").glob("kvm*/parameters/*"))}


def kernel_lines():
    """What the kernel said of KVM: on arm64 whether it runs as VHE or nVHE."""
    status, text = output_of(["dmesg"])
    if status != 0:
        return ["dmesg is not readable for this user"]
    return [line for line in text.splitlines() if re.search(r"\bkvm\b", line, re.I)][:40]


def host_facts(build):
    cpuinfo = read("/proc/cpuinfo")
    names = os.uname()
    _, version = output_of([str(build / "sealvisor"), "--version"])
    _, commit = output_of(["git", "-C", str(SOURCE), "rev-parse", "HEAD"])
    _, changed = output_of(["git", "-C", str(SOURCE), "status", "--porcelain", "-uno"])
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": names.machine,
        "kernel": f"{names.sysname} {names.release} {names.version}",
        "cpu": cpu_model(cpuinfo),
        "microcode": (re.findall(r"^microcode\s*:\s*(.*)$", cpuinfo, re.M) or [""])[0],
        "cpus": os.cpu_count(),
        "distribution": (re.findall(r'^PRETTY_NAME="?([^"\n]*)', read("/etc/os-release"), re.M)
                         or ["unknown"])[0],
        "virtual": virtualisation(cpuinfo),
        "kvm_parameters": kvm_parameters(),
        "kernel_lines": kernel_lines(),
        "kernel_arguments": [word for word in read("/proc/cmdline").split() if "kvm" in word],
        "sealvisor": version.strip(),
        "commit": commit.strip(),
        "changed_files": changed.splitlines(),
        "python": platform.python_version(),
    }


def lane_of(doctor, name):
    """(state, why) of a line of `sealvisor doctor`; None: it has no such line."""
    found = re.search(rf"^{re.escape(name)}\s+(ready|not ready|not used)\s+(.*)$", doctor, re.M)
    return (found[1], found[2]) if found else None


def native_arch():
    machine = os.uname().machine
    names = {"x86_64": "x86_64", "aarch64": "arm64"}
    if machine not in names:
        raise HostLacks(f"host architecture {machine}: expected x86_64 or aarch64")
    return names[machine]
