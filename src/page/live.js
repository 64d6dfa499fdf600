// Text while one speaks: the client's side of docs/live.md. Audio goes in, text comes out, and a connection that
// breaks, a server that restarts or one that has no room in between only cost time.
//
// A recording is one stream for the server where all goes well. Where the server has forgotten it, the recording
// goes on as another stream, from the end of the last segment on; `Piece` is what one stream gave.

import { freshId } from "./connection.js";
import { Kept } from "./kept.js";

/** So much is kept while there is no connection. */
const KEPT_SECONDS = 1800;
/** The server gives up a stream that is 60 s ahead of its work. */
const AHEAD_SECONDS = 45;
const LONGEST_PAUSE = 30_000;
/** More of these in a row are no accident. */
const MOST_FAILURES = 5;
const BUFFERED_BYTES = 1 << 20;

/** What the server may say that another try can mend, and how often it is tried. */
const PASSING = new Set(["OVERLOADED", "SHUTTING_DOWN", "CANCELLED", "INTERNAL_ERROR"]);
const PATIENT = new Set(["OVERLOADED", "SHUTTING_DOWN"]);

/**
 * @typedef {import("./export.js").Segment} Segment
 * @typedef {{ start: number, committed: string, segments: Segment[], message: any }} Piece `start` in samples
 * @typedef {object} Listener
 * @property {(text: { committed: string, volatile: string, fresh: string }) => void} partial all of it, and what is new
 * @property {(segment: Segment) => void} segment
 * @property {(state: "waiting" | "starting" | "streaming" | "finishing" | "busy") => void} changed
 * @property {(pieces: Piece[]) => void} done
 * @property {(code: string, message: string) => void} failed for good
 * @property {(seconds: number) => void} lost audio that was kept for too long
 */

export class LiveStream {
  /** @type {Piece[]} */ pieces = [];
  /** @type {string | null} */ #id = null;
  #open = false;
  #resuming = false;
  #stopping = false;
  #stopSent = false;
  #over = false;
  #next = 0;
  #received = 0;
  #lookedAt = 0;
  #phrase = 0;
  #lastSent = 0;
  #failures = 0;
  #retry = 0;
  #timer = 0;
  #kept;
  #rate;
  #connection;
  #options;
  #listener;

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {number} rate
   * @param {object} options
   * @param {Listener} listener
   */
  constructor(connection, rate, options, listener) {
    this.#connection = connection;
    this.#rate = rate;
    this.#options = options;
    this.#listener = listener;
    this.#kept = new Kept(KEPT_SECONDS * rate);
    this.#timer = setInterval(() => this.#pump(), 500);
    if (connection.isOpen) this.opened();
  }

  /** Seconds that were recorded. */
  get seconds() {
    return this.#kept.end / this.#rate;
  }

  /** @param {Int16Array<ArrayBuffer>} pcm */
  add(pcm) {
    if (this.#over || this.#stopping) return;
    const first = this.#kept.first;
    this.#kept.add(pcm);
    const wanted = Math.max(first, this.#id ? this.#received : this.#next);
    if (this.#kept.first > wanted) this.#listener.lost((this.#kept.first - wanted) / this.#rate);
    this.#pump();
  }

  /** That was all. */
  stop() {
    this.#stopping = true;
    this.#pump();
    this.#tell();
    if (!this.#id && this.#connection.isOpen && !this.#retry) this.#start();
  }

  /** Nothing more is wanted of it. */
  close() {
    this.#over = true;
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
  }

  /** The connection is there, for the first time or again. */
  opened() {
    if (this.#over) return;
    clearTimeout(this.#retry);
    this.#retry = 0;
    const piece = this.pieces.at(-1);
    if (!this.#id || !piece) {
      this.#start();
      return;
    }
    this.#resuming = true;
    const resume = {
      stream_id: this.#id,
      received_samples: Math.max(0, this.#kept.first - piece.start),
      received_segments: piece.segments.length,
    };
    this.#connection.send({ type: "stream_start", resume });
    this.#tell();
  }

  lost() {
    this.#open = this.#stopSent = false;
    this.#tell();
  }

  /** @param {any} message */
  message(message) {
    if (this.#over || !this.#id) return;
    const isOurs = [message.stream_id, message.audio_id, message.data?.stream_id].includes(this.#id);
    const isAboutStreams = message.type === "error" && /^STREAM_/.test(message.code) && !message.audio_id;
    if (!isOurs && !isAboutStreams) return;
    const piece = /** @type {Piece} */ (this.pieces.at(-1));
    if (message.type === "state" && message.state === "streaming") this.#streaming(piece, message.data);
    else if (message.type === "partial") this.#partial(piece, message);
    else if (message.type === "segment") this.#segment(piece, message);
    else if (message.type === "transcription") this.#transcription(piece, message);
    else if (message.type === "error") this.#error(message);
  }

  #tell() {
    if (this.#over) return;
    const { isOpen } = this.#connection;
    if (!isOpen) this.#listener.changed("waiting");
    else if (this.#retry) this.#listener.changed("busy");
    else if (this.#stopping) this.#listener.changed("finishing");
    else this.#listener.changed(this.#open ? "streaming" : "starting");
  }

  /** Another stream, from where text is still wanted. */
  #start() {
    this.#retry = 0;
    const last = this.pieces.at(-1);
    const from = Math.max(this.#kept.first, last ? this.#after(last) : 0);
    this.#kept.drop(from);
    if (this.#stopping && this.#kept.end - from < this.#rate / 10) {
      this.#finish();
      return;
    }
    this.#id = freshId();
    this.#open = this.#resuming = this.#stopSent = false;
    this.#next = this.#received = this.#lookedAt = this.#phrase = from;
    this.pieces.push({ start: from, committed: "", segments: [], message: null });
    this.#connection.send({
      ...this.#options,
      type: "stream_start",
      stream_id: this.#id,
      encoding: "pcm_s16le",
      sample_rate: this.#rate,
      channels: 1,
    });
    this.#tell();
  }

  /**
   * Up to which sample a piece has its text.
   * @param {Piece} piece
   */
  #after(piece) {
    const seconds = piece.message?.duration ?? 0;
    const end = piece.segments.at(-1)?.end ?? 0;
    return Math.max(piece.start + Math.round(seconds * this.#rate), Math.round(end * this.#rate));
  }

  /**
   * @param {Piece} piece
   * @param {any} data
   */
  #streaming(piece, data) {
    this.#open = true;
    this.#resuming = false;
    this.#next = piece.start + (data.next_sample ?? 0);
    this.#tell();
    this.#pump();
  }

  /**
   * @param {Piece} piece
   * @param {any} message
   */
  #partial(piece, message) {
    this.#failures = 0;
    const at = (/** @type {number} */ seconds) => piece.start + Math.round(seconds * this.#rate);
    if (message.received_samples !== undefined) this.#received = piece.start + message.received_samples;
    if (message.end !== undefined) this.#lookedAt = Math.max(this.#lookedAt, at(message.end));
    if (message.start !== undefined) this.#phrase = at(message.start);
    const committed = message.committed ?? "";
    const fresh = message.from_start ? committed.slice(piece.committed.length) : committed;
    piece.committed = message.from_start ? committed : piece.committed + committed;
    this.#listener.partial({ committed: piece.committed, volatile: message.volatile ?? "", fresh });
    this.#forget(piece);
    this.#pump();
  }

  /**
   * @param {Piece} piece
   * @param {any} message
   */
  #segment(piece, message) {
    if (message.index !== undefined && message.index < piece.segments.length) return;
    const segment = shifted(message, piece.start / this.#rate);
    piece.segments.push(segment);
    this.#listener.segment(segment);
    this.#forget(piece);
  }

  /**
   * What the server has, and has written down, it does not need again.
   * @param {Piece} piece
   */
  #forget(piece) {
    const end = Math.round((piece.segments.at(-1)?.end ?? 0) * this.#rate);
    this.#kept.drop(Math.min(this.#received, Math.max(end, this.#phrase)));
  }

  /**
   * @param {Piece} piece
   * @param {any} message
   */
  #transcription(piece, message) {
    piece.message = message;
    piece.committed = message.transcription ?? piece.committed;
    if (message.segments) {
      piece.segments = message.segments.map((/** @type {any} */ one) => shifted(one, piece.start / this.#rate));
    }
    const isAll = this.#stopSent && this.#next >= this.#kept.end;
    this.#id = null;
    this.#open = this.#stopSent = false;
    if (isAll) this.#finish();
    // The server ended it: it shuts down, or the stream had become too long.
    else this.#again(300);
  }

  #finish() {
    this.close();
    this.#listener.done(this.pieces);
  }

  /** @param {{ code: string, message: string }} error */
  #error({ code, message }) {
    // The rest is transcribed, and `transcription` follows.
    if ((code === "PAYLOAD_TOO_LARGE" || code === "QUOTA_EXCEEDED") && this.#open) return;
    const isForgotten = code === "STREAM_NOT_FOUND" || this.#resuming;
    this.#failures += isForgotten ? 0 : 1;
    if (!isForgotten && (!PASSING.has(code) || (!PATIENT.has(code) && this.#failures > MOST_FAILURES))) {
      this.close();
      this.#listener.failed(code, message);
      return;
    }
    this.#id = null;
    this.#open = this.#stopSent = this.#resuming = false;
    const piece = this.pieces.at(-1);
    if (piece) {
      // What no segment has will be heard again.
      piece.committed = piece.segments.map((segment) => segment.text).join("");
      this.#listener.partial({ committed: piece.committed, volatile: "", fresh: "" });
      if (piece.segments.length === 0) this.pieces.pop();
    }
    this.#again(isForgotten ? 0 : Math.min(LONGEST_PAUSE, 1000 * 2 ** Math.min(this.#failures, 5)));
  }

  /** @param {number} pause */
  #again(pause) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#retry = 0;
      if (this.#connection.isOpen && !this.#id) this.#start();
    }, pause);
    if (pause > 500) this.#tell();
  }

  /** Sends what can be sent. */
  #pump() {
    if (this.#over || !this.#open || !this.#connection.isOpen) return;
    while (this.#next < this.#kept.end) {
      if (this.#connection.buffered > BUFFERED_BYTES) return;
      // It is slower than speech: the rest waits here, where there is more room. Now and then it is tried anyway.
      const isAhead = this.#next - this.#lookedAt > AHEAD_SECONDS * this.#rate;
      if (isAhead && Date.now() - this.#lastSent < 5000) return;
      const pcm = this.#kept.from(this.#next, this.#rate);
      if (pcm.length === 0) {
        // Dropped, because nobody took it for long.
        this.#next = this.#kept.first;
        continue;
      }
      this.#connection.sendBytes(pcm);
      this.#lastSent = Date.now();
      this.#next += pcm.length;
    }
    if (this.#stopping && !this.#stopSent) {
      this.#stopSent = true;
      this.#connection.send({ type: "stream_stop" });
    }
  }
}

/**
 * A segment of the server, with the times of the whole recording.
 * @param {any} segment
 * @param {number} by seconds
 * @returns {Segment}
 */
function shifted({ start, end, text, raw_text, words }, by) {
  const move = (/** @type {number} */ seconds) => Math.round((seconds + by) * 1000) / 1000;
  const moved = words?.map((/** @type {any} */ word) => ({ ...word, start: move(word.start), end: move(word.end) }));
  return {
    start: move(start),
    end: move(end),
    text,
    ...(raw_text === undefined ? {} : { raw_text }),
    ...(moved ? { words: moved } : {}),
  };
}
