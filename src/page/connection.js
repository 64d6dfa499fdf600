// A WebSocket to the server that comes back by itself, with longer and longer pauses. It says who it is, and where that
// is not enough, it waits for another key.

import { keep, remembered } from "./i18n.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
/** After this much silence the server is asked whether it is there, and given as long to answer. */
const SILENCE = 15_000;
/** Where the browser keeps the key. */
const KEY = "imesli.key";

let key = remembered(KEY) ?? "";
/** Tells the connections that there is another one. */
const keys = new EventTarget();

/** What the server knows the user by, where it wants to. */
export const accessKey = () => key;

/** @param {string} text */
export function setAccessKey(text) {
  key = text.trim();
  keep(KEY, key);
  keys.dispatchEvent(new Event("change"));
}

/** Where the page came from, as a WebSocket: `ws` for http, `wss` for https. */
export function address() {
  const url = new URL("./", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/** An id that nobody guesses, also where `crypto.randomUUID` is kept from pages that came by plain http. */
export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * @typedef {"connecting" | "open" | "waiting" | "locked" | "asleep" | "closed"} ConnectionState
 * @typedef {object} Handlers
 * @property {() => void} [opened] on the first connection, and on each one after that
 * @property {(message: any) => void} [message]
 * @property {(code: number) => void} [lost] it was open, and is no more
 * @property {(state: ConnectionState) => void} [changed]
 */

export class Connection {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Handlers} */ #handlers;
  #failures = 0;
  #retry = 0;
  #watch = 0;
  #heard = 0;
  #buffered = 0;
  #asked = false;
  /** The server wants another key. */
  #isLocked = false;
  /** The key that it was last given. */
  #tried = "";
  /** @type {ConnectionState} */ state = "closed";

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#wake);
    keys.addEventListener("change", this.#unlock);
    this.#watch = setInterval(() => this.#look(), SILENCE / 3);
    this.#connect();
  }

  get isOpen() {
    return this.state === "open";
  }

  /** Bytes that the network has not taken yet. */
  get buffered() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** @param {object} message */
  send(message) {
    if (this.isOpen) this.#socket?.send(JSON.stringify(message));
  }

  /** @param {ArrayBufferView<ArrayBuffer>} bytes */
  sendBytes(bytes) {
    if (this.isOpen) this.#socket?.send(bytes);
  }

  /** Tries at once, instead of when the pause is over. */
  hurry() {
    if (this.state === "waiting" || this.state === "asleep") this.#connect();
  }

  /** For good. */
  close() {
    removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
    keys.removeEventListener("change", this.#unlock);
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#enter("closed");
  }

  #wake = () => {
    if (document.visibilityState === "visible") this.hurry();
  };

  #unlock = () => {
    if (this.state === "locked") this.#connect();
  };

  /** @param {ConnectionState} state */
  #enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.#handlers.changed?.(state);
  }

  #connect() {
    clearTimeout(this.#retry);
    const socket = new WebSocket(address());
    this.#socket = socket;
    this.#isLocked = false;
    this.#enter("connecting");
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#alive();
      this.#tried = key;
      // Whoever wants a key says so at once to anything else.
      socket.send(JSON.stringify(key ? { type: "auth", key } : { type: "status" }));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#alive();
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return;
      }
      this.#isLocked = message.type === "error" && message.code === "UNAUTHORIZED";
      if (!this.isOpen && !this.#isLocked) {
        this.#failures = 0;
        this.#enter("open");
        this.#handlers.opened?.();
      }
      if (this.isOpen) this.#handlers.message?.(message);
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#gone(code);
    };
  }

  /** @param {number} code */
  #gone(code) {
    this.#socket = null;
    const wasOpen = this.isOpen;
    // Closed because nothing was said for long: no reason to come back before somebody looks at the page.
    const asleep = code === 1000 && document.visibilityState === "hidden";
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    // Not all pages that lost the server at once come back at once.
    const spread = pause * (0.75 + Math.random() / 2);
    if (this.#isLocked && this.#tried !== key) {
      // Another one was given meanwhile: to wait for a change would be to wait for the one after.
      this.#connect();
    } else if (this.#isLocked) {
      this.#enter("locked");
    } else {
      if (!asleep) this.#retry = setTimeout(() => this.#connect(), code === 1013 ? Math.max(5000, spread) : spread);
      this.#enter(asleep ? "asleep" : "waiting");
    }
    if (wasOpen) this.#handlers.lost?.(code);
  }

  #alive() {
    this.#heard = Date.now();
    this.#asked = false;
  }

  /** A network that is gone tells nobody: ask now and then. */
  #look() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    // What leaves here is taken by somebody.
    if (this.buffered < this.#buffered) this.#alive();
    this.#buffered = this.buffered;
    const silent = Date.now() - this.#heard;
    if (silent > 2 * SILENCE && this.#asked) {
      const socket = this.#socket;
      this.#gone(1006);
      socket?.close();
    } else if (silent > SILENCE && !this.#asked) {
      this.#asked = true;
      this.send({ type: "ping" });
    }
  }
}
