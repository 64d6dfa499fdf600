#!/usr/bin/env python3
"""Many connections at once: is every message answered, in order, and does the memory come back?

load.py [--connections 50] [--messages 4] [--rounds 1] [--rest 5] [--insecure] [--pid PID [--most-more MB]]
        ws://127.0.0.1:16391 FILE…

Every connection sends its messages at once and waits for their answers: a transcription, or a refusal with a
code. Exits with 1 when one is missing, or transcriptions of one connection come in another order than asked.
--pid is the server's, for its memory (Linux): after a first audio alone, and after each round and a rest of so many
seconds. What counts is what the process holds of its own (RssAnon): pages of the program's file come and go as the
system likes. --most-more makes it an error to hold so much more in the end. Needs: pip install websockets
"""
import argparse, asyncio, base64, collections, json, pathlib, ssl, sys, time

import websockets


def resident(pid):
    """RssAnon, VmRSS and VmHWM in MB."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) * 1.024 / 1000 for name in ("RssAnon", "VmRSS", "VmHWM"))


async def connection(number, arguments, context, audio, start):
    """One (seconds, outcome, text) for each answer, and what was wrong."""
    answers, wrong = [], []
    asked = {f"{number}-{i}": i for i in range(arguments.messages)}
    order, at = [], {}
    try:
        async with websockets.connect(
            arguments.url, ssl=context, max_size=None, open_timeout=60, ping_timeout=None
        ) as socket:
            await start.wait()
            for audio_id, i in asked.items():
                at[audio_id] = time.monotonic()
                data = audio[(number + i) % len(audio)]
                await socket.send(json.dumps({"type": "audio", "audio_id": audio_id, "audio_data": data}))
            while len(answers) < len(asked):
                message = json.loads(await asyncio.wait_for(socket.recv(), arguments.patience))
                if message["type"] not in ("transcription", "error"):
                    continue
                audio_id = message.get("audio_id")
                if audio_id not in at:
                    wrong.append(f"connection {number}: an answer for {audio_id!r}: {message}")
                    break
                took = time.monotonic() - at.pop(audio_id)
                if message["type"] == "error":
                    answers.append((took, message["code"], None))
                else:
                    order.append(asked[audio_id])
                    answers.append((took, "transcription", message["transcription"]))
    except Exception as error:  # Whatever it was, it is what this script looks for.
        wrong.append(f"connection {number}: {type(error).__name__}: {error}")
    if len(answers) < len(asked):
        wrong.append(f"connection {number}: {len(asked) - len(answers)} messages without an answer")
    if order != sorted(order):
        wrong.append(f"connection {number}: the transcriptions came in the order {order}")
    return answers, wrong


async def a_round(arguments, context, audio):
    """Prints what one round brought; returns what was wrong with it."""
    start = asyncio.Event()
    tasks = [
        asyncio.create_task(connection(number, arguments, context, audio, start))
        for number in range(arguments.connections)
    ]
    await asyncio.sleep(1)
    begun = time.monotonic()
    start.set()
    results = await asyncio.gather(*tasks)
    seconds = time.monotonic() - begun

    answers = [answer for got, _ in results for answer in got]
    total = arguments.connections * arguments.messages
    print(f"{arguments.connections} connections, {total} messages, {seconds:.1f} s, {len(answers)} answered")
    outcomes = collections.defaultdict(list)
    for took, outcome, _ in answers:
        outcomes[outcome].append(took)
    for outcome, times in sorted(outcomes.items()):
        times.sort()
        spread = ", ".join(f"{name} {times[int(q * (len(times) - 1))]:.2f} s" for name, q in
                           (("first", 0), ("median", 0.5), ("95 %", 0.95), ("last", 1)))
        print(f"  {outcome}: {len(times)} ({spread})")
    texts = collections.Counter(text for _, _, text in answers if text is not None)
    for text, count in texts.most_common(2 * len(audio)):
        print(f"  {count} × {text!r}")
    return [line for _, lines in results for line in lines]


async def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--messages", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rest", type=float, default=5, help="seconds after each round")
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--most-more", type=float, help="MB that the server may be larger by in the end")
    parser.add_argument("--patience", type=float, default=600, help="seconds without any message")
    parser.add_argument("url")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    context = None
    if arguments.url.startswith("wss:"):
        context = ssl.create_default_context()
        if arguments.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    audio = [base64.b64encode(path.read_bytes()).decode() for path in arguments.files]

    wrong, held = [], []

    def memory(when):
        if arguments.pid:
            own, all_of_it, most = resident(arguments.pid)
            held.append(own)
            print(f"memory {when}: {own:.0f} MB of its own, {all_of_it:.0f} MB resident, {most:.0f} MB at most")

    # The states' buffers grow with the first audio, and stay.
    alone = argparse.Namespace(**{**vars(arguments), "messages": len(audio)})
    begun = asyncio.Event()
    begun.set()
    wrong += (await connection(0, alone, context, audio, begun))[1]
    await asyncio.sleep(1)
    memory("after the first audio")
    for number in range(1, arguments.rounds + 1):
        wrong += await a_round(arguments, context, audio)
        await asyncio.sleep(arguments.rest)
        memory(f"{arguments.rest:.0f} s after round {number}")
    if arguments.most_more is not None and held and held[-1] > held[0] + arguments.most_more:
        wrong.append(f"the server holds {held[-1] - held[0]:.0f} MB more than before")
    for line in wrong[:20]:
        print(f"WRONG: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


asyncio.run(main())
