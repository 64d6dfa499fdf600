// The microphone: Chromium plays recordings of the repository as if somebody said them.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { WebSocket, sleep, until } from "./browser.mjs";
import { finished, played } from "./files.mjs";
import { Proxy } from "./proxy.mjs";
import { Server, freePort } from "./server.mjs";
import * as sound from "./sound.mjs";

const data = (name) => join("tests/data", name);
const SAID = "seven three zero nine five five two one";

/** What is on the page of the newest transcript, without what may still change. */
const committed = (page) => page.run(() => {
  const entry = document.querySelector(".entry");
  const lines = [...(entry?.querySelectorAll(".line") ?? [])].map((line) => line.textContent);
  const tail = entry?.querySelector(".tail").firstChild.data ?? "";
  return [...lines, tail].join(" ").replace(/\s+/g, " ").trim();
});

/** Waits until so many words stand there for good. */
const words = (page, count) =>
  until(`${count} words`, async () => (await committed(page)).split(" ").filter(Boolean).length >= count);

const status = (page, text) => until(`"${text}"`, async () => (await page.text(".status")).includes(text));

/** What the microphone hears: two phrases, and nothing. */
const heard = (folder) => sound.write(
  join(folder, "microphone.wav"),
  sound.join([0.5, data("theo-7309.wav"), 1.5, data("nicolas-5521.wav"), 600], 48_000),
);

/** The same page by https, and its connections by wss. */
export async function encrypted({ check, server, folder }) {
  await check("an encrypted page has encrypted connections", async (page) => {
    await page.open(server.url);
    await page.click("#record");
    await words(page, 4);
    await page.choose("#files", [data("theo-7309.wav")]);
    assert.equal(await finished(page, "theo"), "seven three zero nine");
    await page.click("#record");
    assert.match(await finished(page, "Recording"), /^seven three zero nine/);
    const sockets = page.requests.filter((url) => url.startsWith("ws"));
    assert.ok(sockets.length >= 3 && sockets.every((url) => url.startsWith("wss://localhost")), `${sockets}`);
  }, { microphone: heard(folder) });
}

export async function live({ check, server, folder }) {
  const microphone = heard(folder);

  await check("what is said stands on the page, then its times, and can be played", async (page, downloads) => {
    await page.open(server.url);
    await page.run(() => {
      window.volatile = new Set();
      window.spoken = [];
      const log = document.querySelector("#spoken");
      new MutationObserver(() => window.volatile.add(document.querySelector(".volatile")?.textContent.trim()))
        .observe(document.querySelector("#entries"), { subtree: true, childList: true, characterData: true });
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) for (const node of addedNodes) window.spoken.push(node.textContent);
      }).observe(log, { childList: true });
    });
    await page.click("#record");
    await status(page, "Recording");
    await words(page, 8);
    assert.equal(await committed(page), SAID);
    const seen = await page.run(() => [...window.volatile].filter(Boolean));
    assert.ok(seen.length > 0, "nothing was shown before it was sure");
    // A screen reader is told what stays, once, and nothing else.
    assert.equal((await page.run(() => window.spoken)).join(" ").replace(/\s+/g, " "), SAID);
    assert.match(await page.text("#clock"), /^0:\d\d$/);
    assert.equal(await page.run(() => document.querySelector("#meter").getContext("2d")
      .getImageData(0, 0, 400, 40).data.some((value) => value > 0)), true, "the meter is empty");
    assert.equal(await page.text("#record"), "Stop");
    await page.click("#record");
    assert.equal(await finished(page, "Recording"), SAID);
    assert.equal(await page.text("#record"), "Start recording");
    const [start, end] = await page.run(() => {
      const word = [...document.querySelectorAll(".word")].find((one) => one.textContent === "nine");
      word.id = "nine";
      return [Number(word.dataset.start), Number(word.dataset.end)];
    });
    assert.ok(start > 1 && end < 5, `"nine" is said at ${start} to ${end}`);
    await page.click("#nine");
    const part = await played(page);
    assert.ok(part[0] >= start - 0.1 && part[1] < end + 0.3, `${part} is not ${start} to ${end}`);
    await page.click("[data-format=wav]");
    await until("the recording to be saved", () => readdirSync(downloads).some((name) => name.endsWith(".wav")));
    const [name] = readdirSync(downloads).filter((one) => one.endsWith(".wav"));
    const { rate, samples } = await until("all of it", () => {
      const file = readFileSync(join(downloads, name));
      return file.length > 44 && sound.read(join(downloads, name));
    });
    assert.equal(rate, 16_000);
    assert.ok(samples.length > 5 * rate && samples.some((sample) => Math.abs(sample) > 3000));
  }, { microphone, downloads: true });

  await check("a recording outlives a broken connection", async (page) => {
    const proxy = await Proxy.start(server.port);
    await page.open(proxy.url);
    await page.click("#record");
    await words(page, 1);
    proxy.cut();
    await words(page, 8);
    assert.equal(await committed(page), SAID);
    proxy.cut();
    await page.click("#record");
    assert.equal(await finished(page, "Recording"), SAID);
    await proxy.stop();
  }, { microphone, cuts: true });

  await check("a recording outlives a restart of the server, and its end while there is none", async (page) => {
    await page.open(server.url);
    await page.click("#record");
    await words(page, 4);
    await server.stop("SIGKILL");
    await until("the loss to be shown", async () => (await page.text("#connection-text")) === "No connection");
    await status(page, "the sound is kept");
    // All is said by now.
    await until("six seconds of sound", async () => Number((await page.text("#clock")).slice(-2)) >= 7);
    await page.click("#record");
    await sleep(500);
    await server.start();
    assert.equal(await finished(page, "Recording"), SAID);
    await until("the connection to be back", async () => (await page.text("#connection-text")) === "Connected");
  }, { microphone, cuts: true });

  await check("a server that shuts down properly and comes back loses nothing", async (page) => {
    await page.open(server.url);
    await page.click("#record");
    await words(page, 1);
    await server.stop();
    await server.start();
    await words(page, 8);
    await page.click("#record");
    // Where the streams meet a word may be cut in two, so that its neighbours alone are certain.
    const text = await finished(page, "Recording");
    assert.match(text, /^seven .*five five two one$/);
  }, { microphone, cuts: true });

  await check("a server that is full is asked again, and nothing is lost meanwhile", async (page) => {
    const full = new Server(...server.made, await freePort(), ["--max-streams", "1"]);
    await full.start();
    try {
      const other = new WebSocket(full.url.replace("http", "ws"));
      const message = (type) => until(type, async () => seen.some((text) => text.includes(type)));
      const seen = [];
      other.on("message", (text) => seen.push(String(text)));
      await new Promise((resolve) => other.on("open", resolve));
      other.send(JSON.stringify({ type: "stream_start", sample_rate: 16_000 }));
      await message("streaming");
      await page.open(full.url);
      await page.click("#record");
      await status(page, "The server is busy");
      other.send(JSON.stringify({ type: "stream_stop" }));
      await message("transcription");
      await words(page, 8);
      await page.click("#record");
      assert.equal(await finished(page, "Recording"), SAID);
      other.close();
    } finally {
      await full.stop();
    }
  }, { microphone });

  await check("a second recording follows the first, and a removed one is gone", async (page) => {
    await page.open(server.url);
    await page.click("#record");
    await words(page, 4);
    await page.click(".remove");
    await until("it to be gone", () => page.run(() => document.querySelectorAll(".entry").length === 0));
    await until("the microphone to be off", async () => (await page.text("#record")) === "Start recording");
    await page.click("#record");
    await words(page, 4);
    await page.click("#record");
    assert.ok(SAID.startsWith(await finished(page, "Recording")));
  }, { microphone });
}
