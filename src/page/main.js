// Puts the page together.

import { Connection, accessKey, setAccessKey } from "./connection.js";
import { choose, preferred, prepare, say } from "./i18n.js";
import { Meter } from "./meter.js";
import { MicrophoneError } from "./microphone.js";
import { Session } from "./session.js";
import { Settings } from "./settings.js";
import { clock } from "./transcript.js";
import { Uploads } from "./uploads.js";

/** @template {HTMLElement} T @param {string} selector @returns {T} */
const find = (selector) => /** @type {T} */ (document.querySelector(selector));

const languages = /** @type {HTMLSelectElement} */ (find("#page-language"));
const record = /** @type {HTMLButtonElement} */ (find("#record"));
const recordText = find("#record-text");
const time = find("#clock");
const drop = find("#drop");
const files = /** @type {HTMLInputElement} */ (find("#files"));

prepare(document);
prepare(/** @type {HTMLTemplateElement} */ (find("#entry")).content);
languages.value = preferred();
choose(languages.value, false);
languages.addEventListener("change", () => choose(languages.value, true));

// --- the connection, for the eye; recordings and files have their own ---

const state = find("#connection");
const connection = new Connection({
  changed: (now) => {
    state.dataset.state = now;
    say(find("#connection-text"), `connection.${now}`);
    find("#reconnect").hidden = now !== "waiting";
    if (now === "locked") lock();
    else if (now === "open") unlock();
  },
});
find("#reconnect").addEventListener("click", () => connection.hurry());

// --- notices ---

/** @param {string | null} key */
function notice(key) {
  find("#notice").hidden = key === null;
  if (key !== null) say(find("#notice-text"), key);
}
find("#notice-close").addEventListener("click", () => {
  notice(null);
  record.focus();
});

// --- the key, where the server wants one ---

const key = /** @type {HTMLInputElement} */ (find("#key"));
key.value = accessKey();
key.addEventListener("change", () => setAccessKey(key.value));
let isLocked = false;

function lock() {
  isLocked = true;
  notice(accessKey() ? "error.UNAUTHORIZED" : "key.wanted");
  /** @type {HTMLDetailsElement} */ (find(".options")).open = true;
  key.focus();
}

function unlock() {
  if (isLocked) notice(null);
  isLocked = false;
}

// --- files ---

const settings = new Settings(/** @type {HTMLFormElement} */ (find("#options")));
const uploads = new Uploads(settings);
files.addEventListener("change", () => {
  uploads.add(files.files ?? []);
  // The same file can be chosen again.
  files.value = "";
});
let inside = 0;
const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
addEventListener("dragenter", (event) => {
  if (!carriesFiles(event)) return;
  inside += 1;
  drop.classList.add("over");
});
addEventListener("dragleave", () => {
  inside = Math.max(0, inside - 1);
  if (inside === 0) drop.classList.remove("over");
});
// On the whole page: a file that misses its place would replace the page.
addEventListener("dragover", (event) => {
  if (carriesFiles(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  inside = 0;
  drop.classList.remove("over");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  uploads.add(event.dataTransfer?.files ?? []);
});

// --- the microphone ---

const meter = new Meter(/** @type {HTMLCanvasElement} */ (find("#meter")));
/** @type {Session | null} */ let session = null;
let isBusy = false;

/** @param {boolean} isOn */
function show(isOn) {
  document.body.classList.toggle("recording", isOn);
  record.dataset.state = isOn ? "on" : "off";
  say(recordText, isOn ? "record.stop" : "record.start");
}

function ended() {
  session = null;
  show(false);
  meter.clear();
}

record.addEventListener("click", async () => {
  if (isBusy) return;
  isBusy = true;
  record.setAttribute("aria-busy", "true");
  try {
    if (session) {
      await session.stop();
    } else {
      notice(null);
      time.textContent = clock(0);
      const looks = {
        meter,
        clock: (/** @type {number} */ seconds) => {
          if (time.textContent !== clock(seconds)) time.textContent = clock(seconds);
        },
        notice,
        ended,
      };
      const next = new Session(looks, uploads);
      await next.start(settings.options);
      // It may have ended already, with its microphone.
      if (next.isOn) {
        session = next;
        show(true);
      }
    }
  } catch (error) {
    notice(error instanceof MicrophoneError ? error.key : "mic.failed");
  } finally {
    isBusy = false;
    record.removeAttribute("aria-busy");
  }
});

// Closing the page would end a recording.
addEventListener("beforeunload", (event) => {
  if (session) event.preventDefault();
});

if (!isSecureContext) notice("mic.insecure");
