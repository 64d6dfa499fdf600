#!/usr/bin/env node
// Prints the text of an audio file.
//
//   node transcribe.mjs [--insecure] ws://127.0.0.1:16391 FILE
//
// Node 22 and later need nothing else; for Node 18 and 20, and for --insecure (which accepts a self-signed
// certificate): npm install ws
//
// IMESLI_KEY: the key, where the server wants one.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";

const insecure = process.argv.includes("--insecure");
const [url, path] = process.argv.slice(2).filter((argument) => argument !== "--insecure");
const fail = (text) => { console.error(text); process.exit(1); };
if (!path) fail("transcribe.mjs [--insecure] URL FILE");

const audio = (await readFile(path)).toString("base64");
const ws = await import("ws").then((module) => module.default, () => undefined);
if (!(ws ?? globalThis.WebSocket)) fail("this Node needs a WebSocket: npm install ws");
// As a subprotocol: WebSockets of browsers, and Node's own, take no headers.
const { IMESLI_KEY: key } = process.env;
const protocols = key ? ["imesli", `imesli.key.${key}`] : [];
const socket = ws ? new ws(url, protocols, { rejectUnauthorized: !insecure }) : new WebSocket(url, protocols);

const id = randomUUID();
socket.onopen = () => socket.send(JSON.stringify({ type: "audio", audio_id: id, audio_data: audio }));
socket.onerror = (event) => fail(event.message || "the connection failed");
socket.onclose = () => fail("the server hung up");
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === "state") console.error(message.state);
  if (message.type === "error") fail(`${message.code}: ${message.message}`);
  if (message.type === "transcription" && message.audio_id === id) {
    console.log(message.transcription);
    socket.onclose = null;
    socket.close();
  }
};
