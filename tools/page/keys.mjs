// A server that wants a key.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { THEO, finished } from "./files.mjs";
import { freePort, Server } from "./server.mjs";

/** Types a key, and leaves the field. */
const enter = (page, key) => page.run((text) => {
  const field = document.querySelector("#key");
  field.value = text;
  field.dispatchEvent(new Event("change"));
}, key);

/** Types a key when another one has just been sent: the server still has to refuse that one. */
const enterWhileAnother = (page, key, first) => page.run((text, other) => {
  const field = document.querySelector("#key");
  const enter = (value) => {
    field.value = value;
    field.dispatchEvent(new Event("change"));
  };
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (message) {
    send.call(this, message);
    if (typeof message !== "string" || !message.includes(other)) return;
    WebSocket.prototype.send = send;
    enter(text);
  };
  enter(other);
}, key, first);

export async function keys({ check, imesli, checkpoint, folder }) {
  const file = join(folder, "keys.toml");
  const make = (name) => execFileSync(imesli, ["key", "new", name, "--key-file", file], { stdio: "pipe" }).toString().trim();
  const key = make("page");
  const server = new Server(imesli, checkpoint, await freePort(), ["--key-file", file]);
  const says = (page, place, text) => until(`"${text}"`, async () => (await page.text(place)).includes(text));
  await server.start();
  try {
    await check("a page without a key asks for it, and what waits goes on", async (page) => {
      await page.open(server.url);
      await says(page, "#connection-text", "Needs a key");
      await says(page, "#notice-text", "wants a key");
      assert.equal(await page.run(() => document.activeElement.id), "key");
      await page.choose("#files", [THEO]);
      await says(page, ".status", "Waits for a key");
      await enter(page, "imesli_wrong");
      await says(page, "#notice-text", "does not know this key");
      await enterWhileAnother(page, ` ${key} `, "imesli_wrong_too");
      await says(page, "#connection-text", "Connected");
      assert.equal(await finished(page, "theo"), "seven three zero nine");
      assert.ok(await page.run(() => document.querySelector("#notice").hidden));
      // It is remembered, and shown to nobody.
      await page.open(server.url);
      await says(page, "#connection-text", "Connected");
      assert.deepEqual(await page.run(() => {
        const field = document.querySelector("#key");
        return [field.type, localStorage.getItem("imesli.key") === field.value, field.value !== ""];
      }), ["password", true, true]);
    });
  } finally {
    await server.stop();
  }
}
