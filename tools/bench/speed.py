"""How long each engine takes for a work, in rounds: one after the other, so that a noisy machine slows them all."""
import contextlib, math, time

from engines import Imesli
from work import WORKS

# Threads of the engine before may spin for a while, waiting for more.
PAUSE = 0.5


def busy():
    """Ticks of all cores: (working or taken by the host, all)."""
    with open("/proc/stat") as file:
        user, nice, system, idle, waiting, interrupts, soft, steal = map(int, file.readline().split()[1:9])
    working = user + nice + system + interrupts + soft + steal
    return working, working + idle + waiting


def ours(running):
    """Ticks that the engines and this process have worked."""
    ticks = 0
    for pid in ("self", *(engine.pid() for engine in running.values())):
        with open(f"/proc/{pid}/stat") as file:
            ticks += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks


def measure(engines, work, names, audio, rounds, say):
    """All engines are loaded, one computes:

    {"seconds": {name: [of each round]}, "windows": {name: …}, "tokens": {name: …}, "others": share of the processor}
    """
    files = audio.clients(work) if work.clients > 1 else [[audio.file(work.seconds)]]
    result = {"seconds": {name: [] for name in names}, "windows": {}, "tokens": {}}
    shares = []
    pieces = {}  # of the recording, where imesli cuts it otherwise than every 30 s
    with contextlib.ExitStack() as stack:
        running = {}
        for name in names:
            engine = engines.make[name]()
            result["windows"][name], result["tokens"][name] = work.windows, work.tokens
            stack.callback(engine.stop)
            if isinstance(engine, Imesli) and work.windows > 1:
                # Windows end in pauses, so there are more of them; the tokens of all are to be the same.
                if not pieces:
                    pieces["count"] = engine.windows(work, files[0][0])
                limit = math.ceil(work.tokens / pieces["count"])
                result["windows"][name], result["tokens"][name] = pieces["count"], pieces["count"] * limit
                engine.start(work, limit)
            else:
                engine.start(work)
            running[name] = engine
            warm_up = work if work.clients == 1 and work.windows == 1 else WORKS["1s"]
            engine.run(warm_up, [[audio.file(warm_up.seconds)]])
        for number in range(rounds):
            # Nobody is always first.
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                time.sleep(PAUSE)
                before, own = busy(), ours(running)
                seconds = running[name].run(work, files)
                working, total = (now - then for now, then in zip(busy(), before))
                shares.append(max(working - (ours(running) - own), 0) / max(total, 1))
                result["seconds"][name].append(round(seconds, 4))
                say(f"{work.title}, round {number + 1} of {rounds}, {name}: {seconds:.2f} s")
            for name, engine in running.items():
                if isinstance(engine, Imesli) and work.windows > 1:
                    windows = engine.answer["unended"]
                    assert windows == result["windows"][name], (name, windows)
    result["others"] = round(sum(shares) / len(shares), 3)
    if result["others"] > 0.05:
        say(f"WARNING: something else has {result['others']:.0%} of the processor; engines suffer unequally from that")
    return result
