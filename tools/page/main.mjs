// Tries the page in Chromium, against a real server.
//
//   CHROMIUM=… CLIENT_MODULES=… node tools/page/main.mjs IMESLI CHECKPOINT [WORD…]
//
// WORDs: only checks whose name has one of them. PICTURES: a folder that the screenshots go to. PAGE: a folder whose
// files are shown in place of those in the program, so that no build is needed to try a change.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Browser } from "./browser.mjs";
import { files } from "./files.mjs";
import { encrypted, live } from "./live.mjs";
import { people } from "./people.mjs";
import { keys } from "./keys.mjs";
import { freePort, Server } from "./server.mjs";

const [imesli, checkpoint, ...words] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "imesli-check-"));
const port = await freePort();
// A name that is not this machine's own, as in a network at home.
const server = new Server(imesli, checkpoint, port, ["--allow-origin", `http://imesli.test:${port}`]);
let failed = 0;
let count = 0;

/** Serves the files of a folder in place of the server's, with the server's headers. */
async function replace(page) {
  const { PAGE } = process.env;
  if (!PAGE) return;
  const forward = page.event.bind(page);
  page.event = (method, params) => {
    forward(method, params);
    if (method !== "Fetch.requestPaused") return;
    const path = new URL(params.request.url).pathname.slice(1) || "index.html";
    const body = readFileSync(join(PAGE, path)).toString("base64");
    void page.call("Fetch.fulfillRequest", {
      requestId: params.requestId, responseCode: 200, responseHeaders: params.responseHeaders, body,
    });
  };
  const patterns = [{ urlPattern: "http*://*/*", requestStage: "Response" }];
  await page.call("Network.setCacheDisabled", { cacheDisabled: true });
  await page.call("Fetch.enable", { patterns });
}

const browsers = new Map();
/** One for each microphone; `name` is a file that it plays. */
async function browser(microphone = "") {
  if (!browsers.has(microphone)) {
    const options = ["--use-fake-device-for-media-stream", "--host-resolver-rules=MAP imesli.test 127.0.0.1", "--ignore-certificate-errors"];
    // What is answered here and not by the server counts as a page from elsewhere.
    if (process.env.PAGE) options.push("--disable-features=LocalNetworkAccessChecks");
    if (microphone) options.push(`--use-file-for-fake-audio-capture=${microphone}%noloop`);
    browsers.set(microphone, await Browser.start(process.env.CHROMIUM, options));
  }
  return browsers.get(microphone);
}

/** Each check has a page of its own, which must have nothing to complain about, and ask nobody but the server. */
async function check(name, work, options = {}) {
  if (words.length && !words.some((word) => name.includes(word))) return;
  count += 1;
  const downloads = options.downloads ? mkdtempSync(join(folder, "downloads-")) : "";
  const page = await (await browser(options.microphone)).page({ ...options, downloads });
  const begin = Date.now();
  try {
    await replace(page);
    await work(page, downloads);
    // Where connections are broken on purpose, Chromium says so.
    const allowed = options.cuts ? /WebSocket connection to/ : /^$/;
    const complaints = page.complaints.filter((text) => !allowed.test(text));
    if (complaints.length) throw new Error(`the page complains:\n${complaints.join("\n")}`);
    const strange = page.requests.filter((url) => !/^((http|ws)s?:\/\/(localhost|imesli\.test)[:/]|blob:|data:|about:)/.test(url));
    if (strange.length) throw new Error(`the page asks somebody else: ${strange}`);
    console.log(`ok: ${name} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED: ${name}: ${error.stack ?? error}`);
    if (page.complaints.length) console.error(page.complaints.join("\n"));
    const state = await page.run(() => document.querySelector("main").innerText).catch(() => "");
    console.error(`the page says:\n${state}`);
  } finally {
    await page.close();
  }
}

try {
  await server.start();
  const pictures = process.env.PICTURES ?? "";
  const world = { check, server, folder, pictures };
  await files(world);
  await people(world);
  await live(world);
  await keys({ ...world, imesli, checkpoint });
  const more = ["--tls-self-signed", "--certs-dir", join(folder, "certs")];
  const secure = new Server(imesli, checkpoint, await freePort(), more);
  try {
    await secure.start();
    await encrypted({ ...world, server: secure });
  } finally {
    await secure.stop();
  }
} finally {
  for (const one of browsers.values()) await one.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${count - failed} of ${count} checks of the page passed`);
process.exitCode = failed ? 1 : 0;
