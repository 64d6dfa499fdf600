// Chromium, by its own protocol (https://chromedevtools.github.io/devtools-protocol/): what these tests need of it
// is little, and Debian has no package of the libraries that do more.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const WebSocket = createRequire(import.meta.url)(join(process.env.CLIENT_MODULES, "ws"));
const PATIENCE = 30_000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again and again until the answer is no longer false. */
export async function until(what, ask, patience = PATIENCE) {
  const begin = Date.now();
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() - begin > patience) throw new Error(`waited in vain for ${what}`);
    await sleep(50);
  }
}

export class Browser {
  #process;
  #folder;
  #socket;
  #calls = new Map();
  #count = 0;
  #pages = new Map();

  static async start(program, options = []) {
    const browser = new Browser();
    browser.#folder = mkdtempSync(join(tmpdir(), "imesli-page-"));
    const root = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser.#process = spawn(program, [
      "--headless=new", "--remote-debugging-port=0", `--user-data-dir=${browser.#folder}`, "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
      "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--lang=en-US", "--autoplay-policy=no-user-gesture-required",
      ...root, ...options, "about:blank",
    ], { stdio: "ignore" });
    // Its first line is the port, its second the path.
    const where = await until("Chromium to start", () => {
      try {
        const lines = readFileSync(join(browser.#folder, "DevToolsActivePort"), "utf8").trim().split("\n");
        return lines.length === 2 && lines;
      } catch {
        if (browser.#process.exitCode !== null) throw new Error("Chromium ended at once");
        return false;
      }
    });
    browser.#socket = new WebSocket(`ws://127.0.0.1:${where[0]}${where[1]}`, { perMessageDeflate: false });
    await new Promise((resolve, reject) => browser.#socket.on("open", resolve).on("error", reject));
    browser.#socket.on("message", (data) => browser.#heard(JSON.parse(data)));
    return browser;
  }

  #heard({ id, result, error, method, params, sessionId }) {
    const call = this.#calls.get(id);
    if (call) {
      this.#calls.delete(id);
      if (error) call.reject(new Error(`${call.method}: ${error.message}`));
      else call.resolve(result);
    } else if (method) {
      this.#pages.get(sessionId)?.event(method, params);
    }
  }

  call(method, params = {}, sessionId = undefined) {
    this.#count += 1;
    const id = this.#count;
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${method}: no answer; has the page crashed?`)), PATIENCE);
      const done = (end) => (value) => {
        clearTimeout(late);
        end(value);
      };
      this.#calls.set(id, { method, resolve: done(resolve), reject: done(reject) });
    });
  }

  /** A window of its own, with its own storage. */
  async page({ width = 1280, height = 900, dark = false, phone = false, languages = "en-US", downloads = "", denied = false } = {}) {
    const { browserContextId } = await this.call("Target.createBrowserContext");
    if (downloads) {
      await this.call("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: downloads, browserContextId });
    }
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId, { targetId, browserContextId });
    this.#pages.set(sessionId, page);
    for (const domain of ["Page", "Runtime", "Log", "Network", "DOM"]) await page.call(`${domain}.enable`);
    await page.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: phone });
    await page.call("Emulation.setTouchEmulationEnabled", { enabled: phone });
    await page.look(dark);
    const { userAgent } = await this.call("Browser.getVersion");
    await page.call("Network.setUserAgentOverride", { userAgent, acceptLanguage: languages });
    const setting = denied ? "denied" : "granted";
    await this.call("Browser.setPermission", { permission: { name: "microphone" }, setting, browserContextId });
    return page;
  }

  async close() {
    this.#socket.close();
    const ended = new Promise((resolve) => this.#process.on("exit", resolve));
    this.#process.kill();
    await Promise.race([ended, sleep(5000)]);
    // Its helpers may still be writing, and what is new in a folder is not removed by rmSync's own retries.
    await until("the profile to be removed", () => {
      try {
        rmSync(this.#folder, { recursive: true, force: true });
        return true;
      } catch (error) {
        if (error.code !== "ENOTEMPTY") throw error;
        return false;
      }
    });
  }
}

class Page {
  #browser;
  #session;
  #ids;
  #loaded = 0;
  /** What no page should have: errors in the console, exceptions, violations of the policy. */
  complaints = [];
  requests = [];

  constructor(browser, session, ids) {
    this.#browser = browser;
    this.#session = session;
    this.#ids = ids;
  }

  call(method, params) {
    return this.#browser.call(method, params, this.#session);
  }

  event(method, params) {
    if (method === "Page.loadEventFired") this.#loaded += 1;
    else if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    else if (method === "Network.webSocketCreated") this.requests.push(params.url);
    else if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params.exceptionDetails;
      this.complaints.push(`exception: ${text} ${exception?.description ?? ""}`);
    } else if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) {
      this.complaints.push(`console: ${params.args.map((one) => one.value ?? one.description).join(" ")}`);
    } else if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) {
      this.complaints.push(`log: ${params.entry.text} ${params.entry.url ?? ""}`);
    } else if (method === "Page.javascriptDialogOpening") {
      void this.call("Page.handleJavaScriptDialog", { accept: true });
    }
  }

  async open(url) {
    const before = this.#loaded;
    await this.call("Page.navigate", { url });
    await until("the page to load", () => this.#loaded > before);
  }

  async reload() {
    const before = this.#loaded;
    await this.call("Page.reload");
    await until("the page to load again", () => this.#loaded > before);
  }

  /** Runs a function in the page. */
  async run(work, ...values) {
    const expression = `(${work})(...${JSON.stringify(values)})`;
    const answer = await this.call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
    return answer.result.value;
  }

  text(selector) {
    return this.run((wanted) => document.querySelector(wanted)?.innerText ?? "", selector);
  }

  /** A click of the mouse, where the element is seen. */
  async click(selector) {
    const spot = await until(`${selector} to be seen`, () =>
      this.run((wanted) => {
        const element = document.querySelector(wanted);
        element?.scrollIntoView({ block: "center", behavior: "instant" });
        const box = element?.getClientRects()[0];
        return box && { x: box.x + box.width / 2, y: box.y + box.height / 2 };
      }, selector),
    );
    const event = { ...spot, button: "left", clickCount: 1 };
    await this.call("Input.dispatchMouseEvent", { ...event, type: "mousePressed" });
    await this.call("Input.dispatchMouseEvent", { ...event, type: "mouseReleased" });
  }

  async press(key) {
    const text = { Enter: "\r", " ": " " }[key];
    const code = { Tab: 9, Enter: 13, " ": 32, End: 35, Home: 36, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 }[key];
    const event = { key, code: key === " " ? "Space" : key, windowsVirtualKeyCode: code };
    await this.call("Input.dispatchKeyEvent", { ...event, type: text ? "keyDown" : "rawKeyDown", text });
    await this.call("Input.dispatchKeyEvent", { ...event, type: "keyUp" });
  }

  /** Chooses files, as in the dialog. */
  async choose(selector, files) {
    const { root } = await this.call("DOM.getDocument");
    const { nodeId } = await this.call("DOM.querySelector", { nodeId: root.nodeId, selector });
    await this.call("DOM.setFileInputFiles", { nodeId, files: files.map((path) => resolve(path)) });
  }

  /** Drags files over a place and lets them fall. */
  async drop(selector, files) {
    const spot = await this.run((wanted) => {
      const box = document.querySelector(wanted).getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    }, selector);
    const data = { items: [], files: files.map((path) => resolve(path)), dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) await this.call("Input.dispatchDragEvent", { ...spot, type, data });
  }

  async look(dark) {
    const value = dark ? "dark" : "light";
    await this.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  }

  async picture() {
    return Buffer.from((await this.call("Page.captureScreenshot", { format: "png" })).data, "base64");
  }

  async close() {
    await this.#browser.call("Target.disposeBrowserContext", { browserContextId: this.#ids.browserContextId });
  }
}
