#!/usr/bin/env python3
"""Many connections at once: is every message answered, in order, and does the memory come back?

load.py [--connections 50] [--messages 4] [--insecure] [--pid PID] ws://127.0.0.1:16391 FILE…

Every connection sends its messages at once and waits for their answers: a transcription, or a refusal with a
code. Exits with 1 when one is missing, or transcriptions of one connection come in another order than asked.
--pid is the server's, for its resident memory (Linux). Needs: pip install websockets
"""
import argparse, asyncio, base64, collections, json, pathlib, ssl, sys, time

import websockets


def resident(pid):
    """VmRSS and VmHWM in MB."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))


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


async def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--messages", type=int, default=4)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--pid", type=int)
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

    before = resident(arguments.pid) if arguments.pid else None
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
    wrong = [line for _, lines in results for line in lines]
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
    if before:
        await asyncio.sleep(2)
        after = resident(arguments.pid)
        print(f"resident memory: {before[0]:.0f} MB before, {after[0]:.0f} MB after, {after[1]:.0f} MB at most")
    for line in wrong[:20]:
        print(f"WRONG: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


asyncio.run(main())
