"""What else the engines cost: memory, the start, the conversion, their size, and the server's time around inference."""
import importlib.metadata, json, os, re, shutil, statistics, subprocess, sys, tempfile, time

from engines import Wrong
from work import WORKS

MEMORY = ["imesli-q8_0", "imesli-q5_0", "imesli-f16", "whisper-defaults-f16", "whisper-defaults-q8_0", "faster-int8",
          "faster-float32", "transformers"]
START = ["imesli-q8_0-margin", "imesli-q8_0", "imesli-f16", "whisper-defaults-q8_0", "faster-int8", "transformers"]
STARTS = 3
MESSAGES = 10  # to the server, for its own time

# Runs a command and prints its seconds and its peak memory in kB. A process of its own: the peak that Linux gives for a
# command begins with that of the process that started it.
WATCH = """
import json, os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=open(os.environ["BENCH_LOG"], "w"))
_, status, used = os.wait4(process.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - begun, used.ru_maxrss]))
"""


def fresh(engine, work, file, **options):
    """A process that was started for one request: (seconds from the start to the answer, peak MB)."""
    begun = time.perf_counter()
    try:
        engine.start(work, **options)
        engine.run(work, [[file]])
        return time.perf_counter() - begun, engine.peak_mb()
    finally:
        engine.stop()


def memory(engines, names, audio, say):
    """{name: MB}: the peak of a process that has answered one request of 30 s."""
    found, work = {}, WORKS["30s"]
    for name in [name for name in MEMORY if name in names]:
        engine = engines.make[name](*(["--states", "1", "--threads", str(engines.threads)] if "imesli" in name else []))
        found[name] = round(fresh(engine, work, audio.file(work.seconds))[1], 1)
        say(f"peak memory, {name}: {found[name]:.0f} MB")
    return found


def starts(engines, names, audio, say):
    """{name: [seconds]}: from the start of the process to the answer to a request of 1 s."""
    work, names = WORKS["1s"], [name for name in START if name in names]
    found = {name: [] for name in names}
    for number in range(STARTS + 1):
        for name in names:
            seconds = fresh(engines.make[name](), work, audio.file(work.seconds))[0]
            if number:  # The first one brings the files into the page cache.
                found[name].append(round(seconds, 3))
                say(f"start to first answer, {name}: {seconds:.2f} s")
    return found


def own_time(engines, audio, say):
    """The server's milliseconds around inference for a message of 5 s, as medians. The log has whole milliseconds."""
    work, engine = WORKS["5s"], engines.make["imesli-q8_0"]()
    file, rows = audio.file(work.seconds), []
    try:
        engine.start(work)
        for _ in range(MESSAGES + 1):
            seconds = engine.run(work, [[file]])
            said = engine.answer
            rows.append([seconds, said["queue_seconds"], said["processing_seconds"]])
        time.sleep(0.2)
        log = [dict(re.findall(r"(\w+)=([\d.]+)", line)) for line in engine.child.log if "transcribed" in line]
    finally:
        engine.stop()
    if len(log) != len(rows):
        raise Wrong(f"imesli's log has {len(log)} lines for {len(rows)} messages")

    def ms(values):
        return round(1000 * statistics.median(list(values)[1:]), 1)

    found = {
        "outside": ms(seconds - processing for seconds, _, processing in rows),
        "load": ms(float(line["load"]) for line in log),
        "inference": ms(float(line["encode"]) + float(line["decode"]) for line in log),
        "all": ms(row[0] - float(line["encode"]) - float(line["decode"]) for row, line in zip(rows, log)),
        "messages": MESSAGES,
    }
    say(f"the server's own time for 5 s: {found['all']} ms, of that {found['outside']} ms outside of its processing")
    return found


def watched(command, scratch):
    """(seconds, peak MB) of a command."""
    log = os.path.join(scratch, "log")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", WATCH, *command], stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "BENCH_LOG": log, "HF_HUB_OFFLINE": "1"})
    code, seconds, peak = json.loads(done.stdout)
    if code:
        with open(log) as lines:
            raise Wrong(f"{' '.join(command)} failed with {code}:\n{lines.read()}")
    return round(seconds, 2), round(peak * 1.024 / 1000, 1)


def convert(programs, checkpoint, made, wanted, say):
    """Makes what the engines load, where it is not there or older than `convert`: {kind: seconds, peak and size}."""
    os.makedirs(made, exist_ok=True)
    record = os.path.join(made, "conversions.json")
    found = {}
    if os.path.exists(record) and os.path.getmtime(record) > os.path.getmtime(programs["convert"]):
        with open(record) as file:
            found = json.load(file)
    kinds = ["f16", "q8_0", "q5_0", "ct2-int8"] + (["ct2-float32"] if "faster-float32" in wanted else [])
    missing = [kind for kind in kinds if kind not in found]
    if missing:
        # From the page cache, for both.
        for name in os.listdir(checkpoint):
            with open(os.path.join(checkpoint, name), "rb") as file:
                while file.read(1 << 24):
                    pass
    for kind in missing:
        with tempfile.TemporaryDirectory(dir=made) as scratch:
            if kind.startswith("ct2-"):
                out, name = f"{scratch}/model", kind
                main = "from ctranslate2.converters.transformers import main; main()"
                command = [sys.executable, "-c", main, "--model", checkpoint, "--output_dir", out, "--quantization",
                           kind.removeprefix("ct2-")]
            else:
                name = f"ggml-{kind}.bin"
                out = f"{scratch}/{name}"
                command = [programs["convert"], "--checkpoint", checkpoint, "--quantize", kind, "--out", out]
            seconds, peak = watched(command, scratch)
            found[kind] = {"seconds": seconds, "peak_mb": peak, "mb": round(size(out) / 1e6, 1)}
            if kind.startswith("ct2-"):
                tokenizer(checkpoint, out)
            target = os.path.join(made, name)
            if os.path.isdir(target):
                shutil.rmtree(target)
            os.replace(out, target)
            profile = out.removesuffix(".bin") + ".json"
            if os.path.exists(profile):
                os.replace(profile, target.removesuffix(".bin") + ".json")
        say(f"converted to {kind}: {seconds} s, {peak:.0f} MB")
    with open(record, "w") as file:
        json.dump(found, file, indent=1)
    return {kind: found[kind] for kind in kinds}


def tokenizer(checkpoint, folder):
    """faster-whisper looks for a tokenizer.json, and asks the internet where there is none."""
    script = ("import sys; from transformers import WhisperTokenizerFast as T; "
              "T.from_pretrained(sys.argv[1]).backend_tokenizer.save(sys.argv[2])")
    subprocess.run(
        [sys.executable, "-c", script, checkpoint, os.path.join(folder, "tokenizer.json")], check=True,
        stderr=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


def sizes(programs):
    """MB of our program without symbols, and of the packages that faster-whisper needs, each with what it has."""
    found = {"imesli_with_symbols": round(size(programs["imesli"]) / 1e6, 1)}
    if shutil.which("strip"):
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["strip", "-o", f"{scratch}/imesli", programs["imesli"]], check=True)
            found["imesli"] = round(size(f"{scratch}/imesli") / 1e6, 1)
    packages, wanted = {}, ["faster-whisper"]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in packages:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system, or another version of Python
        paths = [package.locate_file(file) for file in package.files or []]
        packages[name] = round(sum(os.path.getsize(path) for path in paths if os.path.isfile(path)) / 1e6, 1)
        wanted += [re.match(r"[\w.-]+", line)[0] for line in package.requires or [] if "extra ==" not in line]
    found["packages"] = packages
    return found
