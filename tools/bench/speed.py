"""How long each engine takes for a work, in rounds: one after the other, so that a noisy machine slows them all."""
import contextlib, math, time

from engines import Imesli, Wrong
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

    {"seconds": {name: [of each round]}, "windows": {name: …}, "tokens": {name: …}, "others": share of the processor,
     "left_out": {name: why}}

    An engine that did something else than it was asked for is left out of the work, and the others go on.
    """
    files = audio.clients(work) if work.clients > 1 else [[audio.file(work.seconds)]]
    result = {"seconds": {name: [] for name in names}, "windows": {}, "tokens": {}, "left_out": {}}
    shares = []
    pieces = {}  # of the recording, where imesli cuts it otherwise than every 30 s
    with contextlib.ExitStack() as stack:
        running = {}
        def start(name):
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

        def leave_out(name, why):
            say(f"{work.title}, {name} is left out: {why}")
            result["left_out"][name] = str(why).splitlines()[0]
            for kept in (result["seconds"], result["windows"], result["tokens"]):
                kept.pop(name, None)
            if engine := running.pop(name, None):
                engine.stop()

        for name in names:
            try:
                start(name)
            except Wrong as why:
                leave_out(name, why)
        for number in range(rounds):
            # Nobody is always first.
            turn = number % len(names)
            for name in [name for name in names[turn:] + names[:turn] if name in running]:
                time.sleep(PAUSE)
                before, own = busy(), ours(running)
                try:
                    seconds = running[name].run(work, files)
                    if isinstance(running[name], Imesli) and work.windows > 1:
                        windows = running[name].answer["unended"]
                        if windows != result["windows"][name]:
                            raise Wrong(f"{windows} windows, not {result['windows'][name]}")
                except Wrong as why:
                    leave_out(name, why)
                    continue
                working, total = (now - then for now, then in zip(busy(), before))
                shares.append(max(working - (ours(running) - own), 0) / max(total, 1))
                result["seconds"][name].append(round(seconds, 4))
                say(f"{work.title}, round {number + 1} of {rounds}, {name}: {seconds:.2f} s")
    if not shares:
        raise Wrong(f"{work.title}: no engine did what it was asked for")
    result["others"] = round(sum(shares) / len(shares), 3)
    if result["others"] > 0.05:
        say(f"WARNING: something else has {result['others']:.0%} of the processor; engines suffer unequally from that")
    return result
