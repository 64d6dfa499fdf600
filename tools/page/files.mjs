// Files on the page: chosen, dropped, several, large, over a bad network; played, and taken along.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { Proxy } from "./proxy.mjs";
import * as sound from "./sound.mjs";

const data = (name) => join("tests/data", name);
export const THEO = data("theo-7309.wav");
const NICOLAS = data("nicolas-5521.wav");
const SAID = { "theo-7309.wav": "seven three zero nine", "nicolas-5521.wav": "five five two one" };

/** The text of an entry, by the beginning of its name, when all of it is there. */
export async function finished(page, name) {
  return until(`the text of ${name}`, () =>
    page.run((wanted) => {
      const found = [...document.querySelectorAll(".entry")].find((one) =>
        one.querySelector("h3").textContent.startsWith(wanted));
      const { state } = found?.dataset ?? {};
      if (state === "failed") throw new Error(`failed: ${found.querySelector(".problem").innerText}`);
      return state === "done" && [...found.querySelectorAll(".line")].map((line) => line.textContent).join(" ");
    }, name));
}

/** Where the player is, and whether it plays. */
const player = (page) => page.run(() => {
  const { currentTime, paused } = document.querySelector("audio");
  return { currentTime, paused };
});

/** Waits until a part has been played, and returns from where to where. */
export async function played(page) {
  await until("the player to start", async () => !(await player(page)).paused);
  const start = (await player(page)).currentTime;
  await until("the player to stop", async () => (await player(page)).paused);
  return [start, (await player(page)).currentTime];
}

export async function files({ check, server, folder }) {
  await check("a chosen file is transcribed, with times", async (page) => {
    await page.open(server.url);
    await page.choose("#files", [THEO]);
    assert.equal(await finished(page, "theo"), SAID["theo-7309.wav"]);
    const words = await page.run(() => [...document.querySelectorAll(".word")].map((word) => Number(word.dataset.start)));
    assert.equal(words.length, 4);
    assert.deepEqual(words, [...words].sort((a, b) => a - b));
    assert.match(await page.text(".status"), /^0:02 · 4 words · en$/);
    assert.equal(await page.text(".time"), "0:00");
  });

  await check("a click plays that word, and a time its segment", async (page) => {
    await page.open(server.url);
    await page.choose("#files", [THEO]);
    await finished(page, "theo");
    const [start, end] = await page.run(() => {
      const { dataset } = document.querySelectorAll(".word")[2];
      return [Number(dataset.start), Number(dataset.end)];
    });
    await page.click(".word:nth-of-type(3)");
    const word = await played(page);
    assert.ok(word[0] >= start - 0.1 && word[0] < end, `${word} is not ${start} to ${end}`);
    assert.ok(word[1] >= end && word[1] < end + 0.3, `${word} is not ${start} to ${end}`);
    await page.click(".time");
    const segment = await played(page);
    assert.ok(segment[0] < 0.5 && segment[1] > 2, `${segment}`);
    await page.click(".play");
    await until("the word that is heard to be marked", () => page.run(() => document.querySelector(".word.now") !== null));
    await page.click(".play");
  });

  await check("dropped files are transcribed, several at once", async (page) => {
    await page.open(server.url);
    const more = ["theo-7309-44k.m4a", "theo-7309-live.webm", "theo-7309.caf"].map(data);
    await page.drop("#drop", [THEO, NICOLAS, ...more]);
    await until("five entries", () => page.run(() => document.querySelectorAll(".entry").length === 5));
    for (const [name, text] of Object.entries(SAID)) assert.equal(await finished(page, name), text);
    for (const path of more) assert.equal(await finished(page, path.split("/").pop()), SAID["theo-7309.wav"]);
    // What Chromium can't play is told, and the text stays.
    await until("the CAF file to be refused", () =>
      page.run(() => document.querySelector("#entries").innerText.includes("can't play this file")));
  });

  await check("the text is downloaded as TXT, SRT, VTT and JSON", async (page, downloads) => {
    await page.open(server.url);
    await page.choose("#files", [THEO]);
    await finished(page, "theo");
    const load = async (format) => {
      await page.click(`[data-format=${format}]`);
      const name = `theo-7309.${format}`;
      // Chromium first takes the name with an empty file, and then puts the whole one in its place.
      return until(`${name} to be downloaded`, () =>
        readdirSync(downloads).includes(name) && readFileSync(join(downloads, name), "utf8"));
    };
    assert.equal(await load("txt"), "seven three zero nine\n");
    assert.match(await load("srt"), /^1\n00:00:00,\d{3} --> 00:00:02,\d{3}\nseven three zero nine\n$/);
    assert.match(await load("vtt"), /^WEBVTT\n\n00:00:00\.\d{3} --> 00:00:02\.\d{3}\nseven three zero nine\n$/);
    const all = JSON.parse(await load("json"));
    assert.equal(all.transcription, "seven three zero nine");
    assert.deepEqual(all.segments[0].words.map(({ word }) => word.trim()), all.transcription.split(" "));
    await page.click(".copy");
    await until("the text to be copied", async () => (await page.text(".copy")) === "Copied");
  }, { downloads: true });

  const large = sound.write(join(folder, "large.wav"), sound.join([THEO, 300, NICOLAS], 16_000));
  const size = readFileSync(large).length;
  assert.ok(size > 8 << 20);

  await check("a large file goes in chunks, and is resumed where the connection broke", async (page) => {
    const proxy = await Proxy.start(server.port);
    await page.open(proxy.url);
    await page.run(() => {
      window.seen = [];
      new MutationObserver(() => {
        const bar = document.querySelector("progress");
        if (bar && !bar.hidden) window.seen.push(bar.value);
      }).observe(document.querySelector("#entries"), { subtree: true, attributes: true, childList: true });
    });
    // The file in base64 is a third longer.
    const cut = proxy.cutAfter(size * 0.8);
    const before = proxy.sent;
    await page.choose("#files", [large]);
    await cut;
    assert.equal(await finished(page, "large"), "seven three zero nine five five two one");
    const seen = await page.run(() => window.seen);
    assert.ok(new Set(seen.filter((percent) => percent > 0 && percent < 100)).size > 5, `progress: ${seen}`);
    const sent = proxy.sent - before;
    assert.ok(sent > size * 1.33 && sent < size * 1.33 * 1.4, `${sent} bytes for a file of ${size}`);
    await proxy.stop();
  }, { cuts: true });

  await check("an upload outlives a restart of the server", async (page) => {
    const proxy = await Proxy.start(server.port);
    await page.open(proxy.url);
    const cut = proxy.cutAfter(size * 0.6);
    await page.choose("#files", [large]);
    await cut;
    await server.stop("SIGKILL");
    await until("the break to be told", async () => (await page.text(".status")).startsWith("No connection"));
    await server.start();
    assert.equal(await finished(page, "large"), "seven three zero nine five five two one");
    await proxy.stop();
  }, { cuts: true });

  await check("what can't be transcribed is told", async (page) => {
    const wrong = join(folder, "<b>no sound<b>.wav");
    writeFileSync(wrong.replaceAll("<b>", "_"), "this is no sound at all");
    const named = join(folder, "notes.pdf");
    writeFileSync(named, "x");
    const empty = join(folder, "empty.wav");
    writeFileSync(empty, "");
    await page.open(server.url);
    for (const [path, text] of [
      [wrong.replaceAll("<b>", "_"), "There is no sound in this file"],
      [named, "Files of this type can't be read."],
      [empty, "The file is empty."],
    ]) {
      await page.choose("#files", [path]);
      await until(text, async () => (await page.text(".problem")).startsWith(text));
      assert.equal(await page.text(".status"), "Failed");
      assert.equal(await page.text(".mend"), "Try again");
    }
    // The error is not the end: the next file goes through.
    await page.choose("#files", [NICOLAS]);
    assert.equal(await finished(page, "nicolas"), SAID["nicolas-5521.wav"]);
  });

  await check("an option that the server does not take is told, and then remembered as it was mended", async (page) => {
    await page.open(server.url);
    await page.click(".options summary");
    await page.click("#language");
    await page.call("Input.insertText", { text: "xx" });
    await page.choose("#files", [THEO]);
    await until("the refusal", async () => (await page.text(".problem")).includes("language"));
    await page.run(() => document.querySelector("#language").select());
    await page.call("Input.insertText", { text: "en" });
    await page.reload();
    assert.equal(await page.run(() => document.querySelector("#language").value), "en");
    await page.choose("#files", [THEO]);
    assert.equal(await finished(page, "theo"), SAID["theo-7309.wav"]);
  });
}
