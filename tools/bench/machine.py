"""What the figures were measured on and with."""
import datetime, importlib.metadata, os, platform, re, subprocess

FLAGS = ["avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8",
         "asimd", "asimddp", "i8mm", "sve"]
PACKAGES = ["faster-whisper", "ctranslate2", "transformers", "torch", "numpy", "websockets"]


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def first(pattern, path, otherwise="?"):
    with open(path) as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found[1] if found else otherwise


def machine():
    flags = first(r"^(?:flags|Features)\s*: (.*)", "/proc/cpuinfo", "").split()
    family, model = (first(rf"^{name}\s*: (.*)", "/proc/cpuinfo") for name in ("cpu family", "model"))
    memory = int(first(r"^MemTotal:\s*(\d+)", "/proc/meminfo", "0")) / (1 << 20)
    name = first(r"^model name\s*: (.*)", "/proc/cpuinfo", platform.machine())
    return {
        "processor": f"{name} (family {family}, model {model})",
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}, {' '.join(platform.libc_ver())}",
    }


def versions():
    changed = output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/benchmarks.md")
    commit = output("git", "rev-parse", "--short=10", "HEAD")
    found = {
        "imesli": commit + (", with changes" if changed else ""),
        "whisper-rs": first(r'^whisper-rs = \{ version = "=([^"]*)', "Cargo.toml"),
        "whisper-rs-sys": first(r'^whisper-rs-sys = "=([^"]*)', "Cargo.toml"),
        "rustc": output("rustc", "--version").split()[1],
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        found[name] = importlib.metadata.version(name)
    return found


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
