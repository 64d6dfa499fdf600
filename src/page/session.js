// One recording: from the button to the text.

import { Connection } from "./connection.js";
import { Entry, announce, sentence } from "./entry.js";
import { t } from "./i18n.js";
import { LiveStream } from "./live.js";
import { Microphone } from "./microphone.js";
import { Recording } from "./recording.js";
import { pending } from "./transcript.js";

/** Quieter than any speech; after so many seconds of it the user is told. */
const SILENCE = 0.003;
const SILENT_SECONDS = 6;
/** Texts that the region for screen readers holds. */
const SPOKEN = 6;

/**
 * @typedef {object} Looks
 * @property {import("./meter.js").Meter} meter
 * @property {(seconds: number) => void} clock
 * @property {(key: string | null) => void} notice
 * @property {() => void} ended the microphone is off
 */

const spoken = /** @type {HTMLElement} */ (document.querySelector("#spoken"));

export class Session {
  #looks;
  #uploads;
  #microphone = /** @type {Microphone | null} */ (null);
  #connection = /** @type {Connection | null} */ (null);
  #live = /** @type {LiveStream | null} */ (null);
  #recording = /** @type {Recording | null} */ (null);
  #entry = /** @type {Entry | null} */ (null);
  #lock = /** @type {WakeLockSentinel | null} */ (null);
  #isOn = true;
  #quiet = 0;
  #isQuiet = false;
  #lost = 0;

  /**
   * @param {Looks} looks
   * @param {import("./uploads.js").Uploads} uploads
   */
  constructor(looks, uploads) {
    this.#looks = looks;
    this.#uploads = uploads;
  }

  /**
   * Throws a `MicrophoneError`.
   * @param {object} options
   */
  async start(options) {
    this.#microphone = await Microphone.open((pcm) => this.#heard(pcm), () => this.#unplugged());
    const { rate } = this.#microphone;
    const now = new Date();
    const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
    const date = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
    const name = t("recording.name", { date, time: `${two(now.getHours())}:${two(now.getMinutes())}` });
    const entry = new Entry(name, () => this.#removed());
    this.#entry = entry;
    this.#recording = new Recording(rate);
    const connection = new Connection({
      opened: () => this.#live?.opened(),
      message: (message) => this.#live?.message(message),
      lost: () => this.#live?.lost(),
      changed: (state) => {
        if (state === "waiting" || state === "locked") this.#live?.lost();
      },
    });
    this.#connection = connection;
    entry.status("live.starting", {}, "live");
    this.#live = new LiveStream(connection, rate, options, {
      partial: (text) => this.#partial(text),
      segment: (segment) => this.#segment(segment),
      changed: (state) => this.#changed(state),
      done: (pieces) => this.#done(pieces),
      failed: (code, message) => this.#failed(code, message),
      lost: (seconds) => {
        this.#lost += seconds;
        entry.problem("live.lost", { seconds: Math.ceil(this.#lost) });
      },
    });
    announce(t("live.announced"));
    document.addEventListener("visibilitychange", this.#awake);
    await this.#awake();
  }

  /** Whether the microphone is on. */
  get isOn() {
    return this.#isOn;
  }

  /** Takes no more sound; the text of what was said still comes. */
  async stop() {
    if (!this.#isOn) return;
    this.#isOn = false;
    document.removeEventListener("visibilitychange", this.#awake);
    void this.#lock?.release().catch(() => undefined);
    await this.#microphone?.close();
    this.#looks.notice(null);
    this.#live?.stop();
    if (this.#recording && this.#live) this.#entry?.playable(this.#recording.file(), this.#live.seconds, true);
    this.#looks.ended();
  }

  /** The screen stays on while one speaks, where the browser can do that. It forgets it when the page is hidden. */
  #awake = async () => {
    if (document.visibilityState !== "visible" || !this.#isOn) return;
    try {
      this.#lock = await navigator.wakeLock.request("screen");
    } catch {
      // Not here, or the battery is low.
    }
  };

  /** @param {Int16Array<ArrayBuffer>} pcm */
  #heard(pcm) {
    const level = this.#looks.meter.add(pcm);
    this.#recording?.add(pcm);
    if (this.#recording?.isFull) this.#entry?.problem("live.full");
    this.#live?.add(pcm);
    if (!this.#live || !this.#microphone) return;
    this.#looks.clock(this.#live.seconds);
    this.#quiet = level < SILENCE ? this.#quiet + pcm.length / this.#microphone.rate : 0;
    const isQuiet = this.#quiet > SILENT_SECONDS;
    if (isQuiet !== this.#isQuiet && this.#isOn) this.#looks.notice(isQuiet ? "mic.silent" : null);
    this.#isQuiet = isQuiet;
  }

  async #unplugged() {
    await this.stop();
    this.#looks.notice("mic.unplugged");
  }

  /** @param {{ committed: string, volatile: string, fresh: string }} text */
  #partial({ committed, volatile, fresh }) {
    const segments = this.#live?.pieces.at(-1)?.segments ?? [];
    this.#follow(() => this.#entry?.view.tail(pending(committed, segments), volatile));
    if (fresh.trim()) {
      const line = document.createElement("p");
      line.textContent = fresh.trim();
      spoken.append(line);
      while (spoken.childElementCount > SPOKEN) spoken.firstElementChild?.remove();
    }
  }

  /** @param {import("./export.js").Segment} segment */
  #segment(segment) {
    const piece = this.#live?.pieces.at(-1);
    this.#follow(() => {
      this.#entry?.view.add(segment);
      this.#entry?.view.tail(pending(piece?.committed ?? "", piece?.segments ?? []), "");
    });
  }

  /**
   * Who reads at the end keeps reading there.
   * @param {() => void} change
   */
  #follow(change) {
    const element = this.#entry?.view.element;
    const end = () => (element?.getBoundingClientRect().bottom ?? 0) - innerHeight;
    const before = end();
    change();
    // The bar at the bottom of small screens covers some of it.
    if (before < 120 && end() > -140) scrollBy({ top: end() + 160 });
  }

  /** @param {"waiting" | "starting" | "streaming" | "finishing" | "busy"} state */
  #changed(state) {
    this.#entry?.status(`live.${state}`, {}, state === "streaming" ? "live" : "busy");
  }

  /** @param {import("./live.js").Piece[]} pieces */
  #done(pieces) {
    this.#connection?.close();
    spoken.replaceChildren();
    const text = pieces.map((piece) => piece.committed.trim()).filter(Boolean).join(" ");
    const segments = pieces.flatMap((piece) => piece.segments);
    const duration = this.#live?.seconds ?? 0;
    const language = pieces.find((piece) => piece.message?.language)?.message.language ?? null;
    const entry = /** @type {Entry} */ (this.#entry);
    entry.finish({ name: entry.name, text, segments, language, duration });
  }

  /**
   * @param {string} code
   * @param {string} message
   */
  async #failed(code, message) {
    const entry = /** @type {Entry} */ (this.#entry);
    this.#connection?.close();
    await this.stop();
    spoken.replaceChildren();
    entry.view.tail("", "");
    entry.status("failed", {}, "failed");
    entry.problem(sentence(code), {}, message);
    announce(t(sentence(code)));
    const audio = this.#recording?.file();
    if (audio) entry.offer("live.retry", () => this.#uploads.retry(audio, entry));
  }

  /** From the page: nobody wants its text any more. */
  #removed() {
    this.#live?.close();
    this.#connection?.close();
    void this.stop();
  }
}
