"""Ratios between engines, and what was to be reached."""
import statistics


def reference(measured, work):
    """Which row of faster-whisper the others are compared with; `None` where it was not measured."""
    known = [name for name in ("faster-int8", "faster-int8-batched", "faster-int8-2-workers") if name in measured["seconds"]]
    if work == "5min" and "faster-int8-batched" in known:
        return "faster-int8-batched"
    return min(known, key=lambda name: statistics.median(measured["seconds"][name]), default=None)


def ratios(measured, slow, fast):
    """How many times faster, in each round."""
    if slow is None:
        return []
    return [a / b for a, b in zip(measured["seconds"][slow], measured["seconds"][fast])]


def bounds(values):
    return f"{min(values):.2f}–{max(values):.2f}"


def spread(values):
    return f"{statistics.median(values):.2f} ({bounds(values)})" if values else "—"


def met(value, goal, stretch=None):
    if value < goal:
        return "no"
    return "yes, and the stretch" if stretch and value >= stretch else "yes"


def speed_goal(small, works, names, goal, stretch=None, slow=None):
    """A row for each engine: all works have to reach the goal."""
    for name in names:
        found = []
        for work in works:
            measured = small.get(work)
            if not measured or name not in measured["seconds"]:
                continue
            against = slow or reference(measured, work)
            if against in measured["seconds"]:
                found.append((work, ratios(measured, against, name)))
        if len(found) == len(works):
            least = min(statistics.median(values) for _, values in found)
            cells = ", ".join((f"{work}: " if len(works) > 1 else "") + spread(values) for work, values in found)
            yield name, cells, met(least, goal, stretch)


FULL = ["imesli-q8_0", "imesli-f16", "imesli-q5_0"]
MARGIN = ["imesli-q8_0-margin", "imesli-f16-margin"]


def rows(small, title):
    """(goal, weights, measured, whether it is met)."""
    wanted = [
        ("3 to 10 s, one client: 2.5 × faster", ["3s", "5s", "10s"], [*MARGIN, *FULL], dict(goal=2.5)),
        ("30 s, f16: equal; stretch 1.2 ×", ["30s"], ["imesli-f16"], dict(goal=1, stretch=1.2)),
        ("30 s, q8_0: 0.8 ×; stretch equal", ["30s"], ["imesli-q8_0"], dict(goal=0.8, stretch=1)),
        ("5 min: equal to the batched pipeline", ["5min"], FULL, dict(goal=1, slow="faster-int8-batched")),
        ("8 clients, 5 s: 2 × the audio per second", ["clients"], [*MARGIN, *FULL], dict(goal=2)),
        ("5 s against transformers, float32: 5 ×", ["5s"], [*MARGIN, *FULL], dict(goal=5, slow="transformers")),
    ]
    for text, works, names, options in wanted:
        for name, cells, reached in speed_goal(small, works, names, **options):
            yield text, title(name).removeprefix("imesli, "), cells, reached
    if not (costs := small.get("costs")):
        return
    for name in ("imesli-q8_0", "imesli-q5_0"):
        if name in costs["memory"] and "faster-int8" in costs["memory"]:
            ours, theirs = costs["memory"][name], costs["memory"]["faster-int8"]
            yield ("memory, one state: less than faster-whisper int8", title(name).removeprefix("imesli, "),
                   f"{ours:.0f} MB to {theirs:.0f} MB", "yes" if ours < theirs else "no")
    for name in ("imesli-q8_0-margin", "imesli-q8_0", "imesli-f16"):
        if name in costs["starts"] and "faster-int8" in costs["starts"]:
            values = [a / b for a, b in zip(costs["starts"]["faster-int8"], costs["starts"][name])]
            yield ("process start to first answer: 5 × faster", title(name).removeprefix("imesli, "), spread(values),
                   met(statistics.median(values), 5))
    if own := costs.get("own_time"):
        yield ("the server's time around inference, 5 s WAV: under 5 ms", "q8_0", f"{own['all']:.1f} ms",
               "yes" if own["all"] < 5 else "no")
