// Files: several at once, in chunks, resumed after a broken connection. Each has a connection of its own, so that
// they don't wait for each other.

import { Connection, freshId } from "./connection.js";
import { Entry, announce, sentence } from "./entry.js";
import { t } from "./i18n.js";

const AT_ONCE = 3;
const CHUNK_BYTES = 256 << 10;
/** Chunks that are on their way. */
const AHEAD = 4;
const LONGEST_PAUSE = 30_000;

/** Another try can mend these: the server is full, about to stop, or has forgotten the upload. */
const PASSING = new Set([
  "OVERLOADED", "SHUTTING_DOWN", "CANCELLED", "UPLOAD_SESSION_NOT_FOUND", "UPLOAD_INCOMPLETE", "UPLOAD_COMPLETE_ERROR",
]);

export class Uploads {
  /** @type {Upload[]} */ #waiting = [];
  #running = 0;
  #settings;

  /** @param {import("./settings.js").Settings} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      /** @type {Upload | null} */ let upload = null;
      const entry = new Entry(file.name, () => upload?.giveUp());
      upload = this.#queue(file, file.name, entry, false);
    }
  }

  /**
   * A recording whose stream has failed.
   * @param {Blob} audio
   * @param {Entry} entry
   */
  retry(audio, entry) {
    this.#queue(audio, `${entry.name.replace(/[^\w-]+/g, "-")}.wav`, entry, true);
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Entry} entry
   * @param {boolean} isRecording
   */
  #queue(file, name, entry, isRecording) {
    const upload = new Upload(file, name, entry, isRecording, this.#settings.options, () => {
      this.#running -= 1;
      this.#next();
    });
    upload.again = () => {
      this.#waiting.push(upload);
      this.#next();
    };
    this.#waiting.push(upload);
    this.#next();
    return upload;
  }

  #next() {
    while (this.#running < AT_ONCE) {
      const upload = this.#waiting.shift();
      if (!upload) return;
      if (upload.isGivenUp) continue;
      this.#running += 1;
      upload.start();
    }
  }
}

class Upload {
  isGivenUp = false;
  again = () => {};
  #id = freshId();
  /** @type {Connection | null} */ #connection = null;
  /** Counts the attempts, so that what belongs to an older one is passed over. */
  #attempt = 0;
  #total;
  /** @type {number[]} */ #missing = [];
  #onWay = 0;
  #asked = false;
  #failures = 0;
  #retry = 0;
  #file;
  #name;
  #entry;
  #isRecording;
  #options;
  #ended;

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Entry} entry
   * @param {boolean} isRecording
   * @param {object} options
   * @param {() => void} ended
   */
  constructor(file, name, entry, isRecording, options, ended) {
    this.#file = file;
    this.#name = name;
    this.#entry = entry;
    this.#isRecording = isRecording;
    this.#options = options;
    this.#ended = ended;
    this.#total = Math.max(1, Math.ceil(file.size / CHUNK_BYTES));
    entry.status("upload.waiting");
  }

  start() {
    if (this.#file.size === 0) {
      this.#fail("error.empty", "");
      return;
    }
    this.#connection = new Connection({
      opened: () => this.#begin(),
      message: (message) => this.#message(message),
      lost: () => this.#lost(),
      changed: (state) => {
        if (state === "waiting") this.#entry.status("upload.broken");
        if (state === "locked") this.#entry.status("upload.locked");
      },
    });
  }

  giveUp() {
    if (this.isGivenUp) return;
    this.isGivenUp = true;
    this.#connection?.send({ type: "upload_error", upload_id: this.#id, error: "given up by the user" });
    this.#end();
  }

  #end() {
    clearTimeout(this.#retry);
    this.#attempt += 1;
    if (!this.#connection) return;
    this.#connection.close();
    this.#connection = null;
    this.#ended();
  }

  #lost() {
    clearTimeout(this.#retry);
    this.#attempt += 1;
  }

  /** From the start, or from where it was left. */
  #begin() {
    this.#attempt += 1;
    this.#onWay = 0;
    this.#asked = false;
    this.#missing = [];
    this.#connection?.send({
      ...this.#options,
      type: "upload_start",
      upload_id: this.#id,
      file_name: this.#name,
      file_size: this.#file.size,
      total_chunks: this.#total,
      chunk_size: CHUNK_BYTES,
      resume: true,
    });
  }

  /** @param {any} message */
  #message(message) {
    switch (message.type) {
      case "upload_progress":
        this.#progress(message);
        break;
      case "upload_complete":
        this.#entry.progress(null);
        this.#entry.status("upload.complete");
        break;
      case "state":
        if (message.data?.audio_id === this.#id) this.#state(message);
        break;
      case "transcription":
        if (message.audio_id === this.#id) this.#done(message);
        break;
      case "error":
        this.#error(message);
        break;
    }
  }

  /** @param {any} message */
  #progress({ progress, received_chunks: received }) {
    this.#failures = 0;
    if (received) {
      const there = new Set(received);
      this.#missing = Array.from({ length: this.#total }, (_, i) => i).filter((i) => !there.has(i));
    } else {
      this.#onWay -= 1;
    }
    const percent = Math.floor(progress ?? 0);
    this.#entry.progress(percent);
    this.#entry.status("upload.sending", { percent });
    this.#send();
  }

  #send() {
    while (this.#missing.length && this.#onWay < AHEAD) {
      const index = /** @type {number} */ (this.#missing.shift());
      this.#onWay += 1;
      void this.#chunk(index, this.#attempt);
    }
    if (this.#missing.length === 0 && this.#onWay === 0 && !this.#asked) {
      this.#asked = true;
      this.#connection?.send({ type: "upload_complete", upload_id: this.#id });
    }
  }

  /**
   * @param {number} index
   * @param {number} attempt
   */
  async #chunk(index, attempt) {
    const piece = this.#file.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    let data;
    try {
      data = await base64(piece);
    } catch {
      if (attempt === this.#attempt) this.#fail("error.unreadable", "");
      return;
    }
    if (attempt !== this.#attempt) return;
    this.#connection?.send({ type: "upload_chunk", upload_id: this.#id, chunk_index: index, chunk_data: data });
  }

  /** @param {any} message */
  #state({ state, data }) {
    if (state !== "transcribing") return;
    if (data.progress === undefined) {
      this.#entry.status("upload.transcribing");
    } else {
      this.#entry.progress(data.progress);
      this.#entry.status("upload.transcribing.percent", { percent: Math.floor(data.progress) });
    }
  }

  /** @param {any} message */
  #done(message) {
    const { type, timestamp, audio_id, transcription, segments, language, duration, ...more } = message;
    this.#entry.finish({ name: this.#entry.name, text: transcription, segments: segments ?? [], language, duration, more });
    this.#entry.playable(this.#file, duration ?? 0, this.#isRecording);
    this.#end();
  }

  /** @param {{ code: string, message: string }} error */
  #error({ code, message }) {
    // With another key it begins anew.
    if (code === "UNAUTHORIZED") return;
    // It was on its way twice.
    if (code === "CHUNK_ADD_ERROR") {
      this.#onWay -= 1;
      this.#send();
    } else if (PASSING.has(code)) {
      this.#attempt += 1;
      if (!this.#retry) this.#later(code);
    } else {
      this.#fail(sentence(code), message);
    }
  }

  /** @param {string} code */
  #later(code) {
    const isForgotten = code === "UPLOAD_SESSION_NOT_FOUND" || code === "UPLOAD_INCOMPLETE";
    this.#failures += 1;
    if (!isForgotten) this.#entry.status("busy.retrying");
    this.#retry = setTimeout(() => {
      this.#retry = 0;
      if (this.#connection?.isOpen) this.#begin();
    }, Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(this.#failures, 6)));
  }

  /**
   * @param {string} key
   * @param {string} detail
   */
  #fail(key, detail) {
    this.#entry.progress(null);
    this.#entry.status("failed", {}, "failed");
    this.#entry.problem(key, {}, detail);
    announce(t(key));
    const hadPlace = this.#connection !== null;
    this.#end();
    if (!hadPlace) this.#ended();
    this.#entry.offer("again", () => {
      this.#id = freshId();
      this.#entry.status("upload.waiting");
      this.again();
    });
  }
}

/**
 * The browser's own encoder is faster than any that is written here.
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => {
      const url = String(reader.result);
      resolve(url.slice(url.indexOf(",") + 1));
    };
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
