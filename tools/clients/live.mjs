#!/usr/bin/env node
// Prints the text of live audio while it is spoken.
//
//   node live.mjs [--insecure] [--speed=1] [--rate=16000] ws://127.0.0.1:16391 [FILE or -]
//
// Takes a WAV file of 16 bits, or raw 16-bit samples of one channel from a file or standard input, e.g. of
// `arecord -f S16_LE -r 16000 -t raw`, and sends it as fast as it is spoken; --speed=2 twice as fast, of a file.
// Node 22 and later need nothing else; for Node 18 and 20, and for --insecure (which accepts a self-signed
// certificate): npm install ws
//
// IMESLI_KEY: the key, where the server wants one.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const PIECE = 0.1; // seconds of audio in a message
const fail = (text) => { console.error(text); process.exit(1); };
const [url, path = "-"] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const option = (name, value) => process.argv.map((argument) => argument.split("="))
  .find(([key]) => key === `--${name}`)?.[1] ?? value;
const insecure = process.argv.includes("--insecure");
if (!url) fail("live.mjs [--insecure] [--speed=1] [--rate=16000] URL [FILE or -]");

// Pieces of audio, the rate, and the channels.
async function openAudio() {
  const raw = { pieces: process.stdin, rate: Number(option("rate", 16000)), channels: 1 };
  if (path === "-") return raw; // It has its own pace.
  const bytes = await readFile(path);
  if (bytes.toString("latin1", 0, 4) !== "RIFF") return { ...raw, pieces: paced(bytes, raw.rate * 2) };
  let at = 12;
  let format;
  for (; bytes.toString("latin1", at, at + 4) !== "data"; at += 8 + bytes.readUInt32LE(at + 4)) {
    if (bytes.toString("latin1", at, at + 4) === "fmt ") format = at + 8;
  }
  if (bytes.readUInt16LE(format) !== 1 || bytes.readUInt16LE(format + 14) !== 16) fail("only WAV files of 16 bits");
  const [channels, rate] = [bytes.readUInt16LE(format + 2), bytes.readUInt32LE(format + 4)];
  const samples = bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at + 4));
  return { pieces: paced(samples, rate * 2 * channels), rate, channels };
}

async function* paced(bytes, perSecond) {
  const [begun, size] = [Date.now(), Math.floor(PIECE * perSecond)];
  for (let at = 0; at < bytes.length; at += size) {
    yield bytes.subarray(at, at + size);
    const spoken = (at + size) / perSecond / Number(option("speed", 1));
    await sleep(Math.max(0, begun + spoken * 1000 - Date.now()));
  }
}

const ws = await import("ws").then((module) => module.default, () => undefined);
if (!(ws ?? globalThis.WebSocket)) fail("this Node needs a WebSocket: npm install ws");
const { pieces, rate, channels } = await openAudio();
// As a subprotocol: WebSockets of browsers, and Node's own, take no headers.
const { IMESLI_KEY: key } = process.env;
const protocols = key ? ["imesli", `imesli.key.${key}`] : [];
const socket = ws ? new ws(url, protocols, { rejectUnauthorized: !insecure }) : new WebSocket(url, protocols);
const [id, send] = [randomUUID(), (message) => socket.send(JSON.stringify(message))];
let committed = "";

socket.onopen = () => send({ type: "stream_start", stream_id: id, sample_rate: rate, channels });
socket.onerror = (event) => fail(event.message || "the connection failed");
socket.onclose = () => fail("the server hung up");
socket.onmessage = async ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === "state" && message.state === "streaming") {
    for await (const piece of pieces) socket.send(piece);
    send({ type: "stream_stop" });
  } else if (message.type === "partial") {
    committed += message.committed;
    // On a terminal each line replaces the last one; \x1b[2m is dim, for what may still change.
    process.stderr.write(`\r${committed.slice(-60)}\x1b[2m${message.volatile}\x1b[0m\x1b[K`);
  } else if (message.type === "error") {
    fail(`${message.code}: ${message.message}`);
  } else if (message.type === "transcription" && message.audio_id === id) {
    console.error();
    console.log(message.transcription);
    socket.onclose = null;
    socket.close();
  }
};
