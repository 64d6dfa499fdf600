"""The page, from the results alone."""
import statistics

import goals
from work import WORKS

TITLES = {
    "imesli-q8_0": "imesli, q8_0",
    "imesli-f16": "imesli, f16",
    "imesli-q5_0": "imesli, q5_0",
    "imesli-q8_0-margin": "imesli, q8_0, *1 s margin*",
    "imesli-f16-margin": "imesli, f16, *1 s margin*",
    "whisper-defaults-f16": "whisper.cpp, defaults, f16",
    "whisper-defaults-q8_0": "whisper.cpp, defaults, q8_0",
    "faster-int8": "faster-whisper, int8",
    "faster-int8-batched": "faster-whisper, int8, batched by 8",
    "faster-int8-2-workers": "faster-whisper, int8, 2 workers × {each} thread(s)",
    "faster-float32": "faster-whisper, float32",
    "transformers": "transformers, float32",
}
CONVERSIONS = {
    "f16": "`convert`, f16", "q8_0": "`convert`, q8_0", "q5_0": "`convert`, q5_0",
    "ct2-int8": "CTranslate2's converter, int8", "ct2-float32": "CTranslate2's converter, float32",
}
SHAPES = ["tiny", "base", "small"]

HEAD = """# Benchmarks

<!-- Written by `make bench`. -->

imesli beside other engines, on one machine, side by side in one run. **The weights are random**, in the shapes of
Whisper's tiny, base and small: the time of a window and of a token is that of a real model, the text is noise. All engines
are made to write the same number of tokens. [How it is measured, and what it does not show](#how-it-is-measured-and-what-it-does-not-show)
is at the end.
"""

TAIL = """## How it is measured, and what it does not show

- **The same work.** Language English, no timestamps, a beam of 5, temperature 0 without fallback, no voice activity
  detection, no search for loops, and 4 tokens for each second of audio: for a message, for a window of 30 s (120), and
  in all for five minutes. Each engine's count is checked, and one with another is left out of that work. Tokens that are no text are
  forbidden (imesli and whisper.cpp do that by themselves, faster-whisper is asked to; transformers may not end the text).
- **imesli** is the whole server: what counts is the time from sending a WAV file in base64 over WebSocket until the
  `transcription` is there. The other engines are called within their process with the path of the file, and measured by
  their own clock: they have no server to pay for.
- **Rounds.** In a round each engine does the work once, one after the other, never first twice in a row. Other engines
  stay loaded meanwhile, and rest. There is one request before the first round that does not count. Seconds are medians. The ratio
  is faster-whisper's time in a round by that of the engine in the same round: the median, and from the lowest to the highest.
- **Something else.** What the processor did while engines were measured, and was not theirs (or was taken by the host), is given at
  the top: the mean of the work for which it was largest. The threads of all engines wait for each other at every step, so a core that is taken away slows them by more than its
  share, and not all by the same: on a busy machine the ratios say nothing.
- **1 s margin** is `--audio-context 1.0`: the encoder computes the audio and a second of silence, and not all of 30 s. A server
  does that for checkpoints which [`convert --probe`](quality.md#short-audio) has seen to bear it. Random weights can't be probed: these rows
  say what the rule gains where it holds, not that it holds.
- **Five minutes.** imesli ends windows in pauses, so there are more of them, with fewer tokens each. faster-whisper's batched
  pipeline, which the ratio is to, is given windows of 30 s, so that it needs no voice activity detection; without batches it
  cuts in the same places.
- **Clients at once.** Each sends a message of 5 s and, when it has its answer, another one. faster-whisper is called from as many
  Python threads, with one worker on all threads and with two workers on half as many each; the ratio is to the faster one. whisper.cpp
  has one state here, and takes one message after the other.
- **whisper.cpp, defaults** is the same version without imesli's changes, built with upstream's flags, and run with whisper-rs's
  default context and whisper.cpp's own beam search (tools/bench/whisper-defaults). It loads the same GGML files.
- **Memory** is the peak resident memory (`VmHWM`) of a fresh process that has answered one request of 30 s; files that are mapped count.
- **Start** is from the start of the process to the answer to 1 s of audio, with the files in the page cache; the median of three. For Python that
  includes its imports.
- **Quality is not measured here**: text of random weights means nothing. [faithfulness.md](faithfulness.md) and [quality.md](quality.md) are
  about that. Real text has another number of tokens, and ends by itself. Other machines, GPUs, other sizes, and more cores may give
  another picture.
"""


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows]) + "\n"


def title(name, work=None, threads=2):
    if work and work.clients > 1 and name == "faster-int8":
        return f"faster-whisper, int8, 1 worker × {threads} threads"
    return TITLES[name].format(each=max(threads // 2, 1)).replace("1 thread(s)", "1 thread").replace("(s)", "s")


def in_order(shapes):
    return [name for name in SHAPES if name in shapes]


def speed_rows(results):
    for shape in in_order(results["shapes"]):
        for name, work in WORKS.items():
            if not (measured := results["shapes"][shape].get(name)):
                continue
            threads = results["runs"][measured["run"]]["threads"]
            reference = goals.reference(measured, name)
            for engine, seconds in sorted(measured["seconds"].items(), key=lambda pair: statistics.median(pair[1])):
                middle = statistics.median(seconds)
                yield (shape, work.title, title(engine, work, threads), f"{middle:.2f}",
                       f"{work.audio_seconds / middle:.2f}",
                       "**1**" if engine == reference else goals.spread(goals.ratios(measured, reference, engine)))


def left_out(results):
    """What is missing from the rows, and why."""
    for shape in in_order(results["shapes"]):
        for name, work in WORKS.items():
            for engine, why in results["shapes"][shape].get(name, {}).get("left_out", {}).items():
                yield f"- Left out: {title(engine, work)} on {work.title} of {shape}. It did something else than the others: {why}.\n"


def runs(results):
    """The runs that anything on the page is from, newest last."""
    used = {measured["run"]: set() for shape in results["shapes"].values() for measured in shape.values()}
    for shape in in_order(results["shapes"]):
        for measured in results["shapes"][shape].values():
            used[measured["run"]].add(shape)
    for number in sorted(used):
        run, versions = results["runs"][number], results["runs"][number]["versions"]
        machine = run["machine"]
        yield table(
            ["", f"whisper-{', -'.join(in_order(used[number]))}"],
            [("date", run["date"]),
             ("command", f"`{run['command']}`"),
             ("processor", f"{machine['processor']}, {machine['cores']} cores, {run['threads']} threads used"),
             ("it has", ", ".join(machine["flags"]) or "none of the instructions that matter"),
             ("memory, system", f"{machine['memory']}, {machine['kernel']}"),
             ("imesli", f"{versions['imesli']} (whisper-rs {versions['whisper-rs']}, whisper-rs-sys "
                        f"{versions['whisper-rs-sys']}, rustc {versions['rustc']})"),
             ("Python", f"{versions['python']}: " + ", ".join(
                 f"{name} {version}" for name, version in versions.items()
                 if name not in ("imesli", "whisper-rs", "whisper-rs-sys", "rustc", "python"))),
             ("speech", run["audio"]),
             ("used by something else", ", ".join(f"{text}: {share:.0%}" for text, share in others(results, number)))])


def others(results, number):
    """How quiet the machine was: the share of the processor that others had during the measurements of a run."""
    for shape in in_order(results["shapes"]):
        shares = [measured["others"] for measured in results["shapes"][shape].values()
                  if measured["run"] == number and "others" in measured]
        if shares:
            yield shape, max(shares)


def costs(results):
    """Tables of all that is not speed."""
    shapes = [shape for shape in in_order(results["shapes"]) if "costs" in results["shapes"][shape]]
    if not shapes:
        return
    found = {shape: results["shapes"][shape]["costs"] for shape in shapes}

    def by_shape(head, names, cell):
        names = [name for name in names if any(cell(found[shape], name) for shape in shapes)]
        return table([head, *shapes], [
            (TITLES.get(name) or CONVERSIONS[name], *(cell(found[shape], name) or "—" for shape in shapes))
            for name in names])

    yield "## Memory\n\nPeak resident memory in 10⁶ bytes, one state, after one request of 30 s.\n"
    yield by_shape("", TITLES, lambda costs, name: f"{costs['memory'][name]:.0f}" if name in costs["memory"] else "")
    yield "## Process start to first answer\n\nSeconds.\n"
    yield by_shape("", TITLES, lambda costs, name: (
        f"{statistics.median(costs['starts'][name]):.2f} ({goals.bounds(costs['starts'][name])})"
        if name in costs["starts"] else ""))
    yield "## Conversion\n\nSeconds, peak memory, and what was made, in 10⁶ bytes. One type at a time.\n"
    yield by_shape("", CONVERSIONS, lambda costs, name: (
        "{seconds:.1f} s, {peak_mb:.0f} MB, {mb:.0f} MB".format(**costs["conversions"][name])
        if name in costs["conversions"] else ""))
    yield "## Size\n"
    sizes = found[shapes[-1]]["sizes"]
    packages = sorted(sizes["packages"].items(), key=lambda pair: -pair[1])
    largest = ", ".join(f"{name} {mb:.0f}" for name, mb in packages[:6])
    yield table(["", "10⁶ bytes"], [
        ("`imesli`, without symbols", sizes.get("imesli", "—")),
        (f"the {len(packages)} Python packages of faster-whisper, without Python: {largest}, …",
         f"{sum(sizes['packages'].values()):.0f}")])
    own = {shape: found[shape]["own_time"] for shape in shapes if "own_time" in found[shape]}
    if own:
        count = next(iter(own.values()))["messages"]
        yield ("## The server's own time\n\n"
               f"Milliseconds around inference for a WAV file of 5 s (16 kHz, mono), medians of {count} messages, q8_0. The server "
               "reports whole milliseconds, so each is right to about one.\n")
        rows = [
            ("all: from sending to the answer, without spectrogram, encoder and token search", "all"),
            ("of that, outside of `processing_seconds`: WebSocket, JSON, base64, waiting for a state", "outside"),
            ("of that, within it: the file to 16 kHz mono (`load` in the log)", "load"),
            ("beside it: spectrogram, encoder and token search", "inference")]
        yield table(["", *own], [(text, *(f"{own[shape][key]:.1f}" for shape in own)) for text, key in rows])


def page(results):
    parts = [HEAD, *runs(results)]
    if small := results["shapes"].get("small"):
        rows = [(goal, what, found, text) for goal, what, found, text in goals.rows(small, title)]
        if rows:
            parts += ["## The goals, for whisper-small\n\nRatios are to faster-whisper int8, and above 1 imesli is faster.\n",
                      table(["work and goal", "weights", "measured", "met"], rows)]
    rows = list(speed_rows(results))
    if rows:
        parts += ["## Speed\n\n× faster: than faster-whisper int8 in the same round, median (lowest–highest). **1** is the one that "
                  "the others are compared with.\n",
                  table(["shape", "audio", "engine and weights", "seconds", "audio s/s", "× faster"], rows),
                  *left_out(results)]
    return "\n".join([*parts, *costs(results), TAIL])
