// Plays a recording, or a part of it.

import { say } from "./i18n.js";
import { clock } from "./transcript.js";

/** The one that is heard. @type {Player | null} */
let playing = null;

export class Player {
  element = document.createElement("div");
  #audio = document.createElement("audio");
  #button = document.createElement("button");
  #slider = document.createElement("input");
  #time = document.createElement("span");
  #url;
  #duration;
  #until = Infinity;
  #frame = 0;
  #onTime;

  /**
   * @param {Blob} blob
   * @param {number} duration seconds, as the server counted them: some files don't say
   * @param {(time: number | null) => void} onTime while it plays, and null at its end
   * @param {() => void} onRefused the browser can't play it
   */
  constructor(blob, duration, onTime, onRefused) {
    this.#duration = duration;
    this.#onTime = onTime;
    this.#url = URL.createObjectURL(blob);
    this.element.className = "player";
    this.#audio.preload = "metadata";
    this.#audio.src = this.#url;
    this.#button.type = "button";
    this.#button.className = "play";
    this.#slider.type = "range";
    this.#slider.min = "0";
    this.#slider.step = "0.1";
    say(this.#slider, "play.position", {}, "aria-label");
    this.#time.className = "position";
    this.element.append(this.#audio, this.#button, this.#slider, this.#time);
    this.#button.onclick = () => this.#toggle();
    this.#slider.oninput = () => this.#seek(Number(this.#slider.value));
    this.#audio.onplay = () => this.#show();
    this.#audio.onpause = () => this.#show();
    this.#audio.onended = () => this.#show();
    this.#audio.onseeked = () => this.#show();
    this.#audio.onloadedmetadata = () => this.#show();
    this.#audio.onerror = onRefused;
    this.#show();
  }

  /**
   * @param {number} start
   * @param {number} end
   */
  part(start, end) {
    this.#audio.currentTime = Math.max(0, start);
    this.#start(end);
  }

  pause() {
    this.#audio.pause();
  }

  close() {
    this.pause();
    if (playing === this) playing = null;
    this.#audio.removeAttribute("src");
    URL.revokeObjectURL(this.#url);
  }

  #toggle() {
    if (!this.#audio.paused) {
      this.#audio.pause();
      return;
    }
    // A part that ends with the recording stops a moment before its end: from there, nothing would be heard.
    if (this.#audio.currentTime > Number(this.#slider.max) - 0.3) this.#audio.currentTime = 0;
    this.#start(Infinity);
  }

  /** @param {number} until */
  #start(until) {
    if (playing !== this) playing?.pause();
    playing = this;
    this.#until = until;
    // A file that can't be played says so by its own event.
    this.#audio.play().catch(() => undefined);
  }

  /** @param {number} time */
  #seek(time) {
    this.#until = Infinity;
    this.#audio.currentTime = time;
  }

  #show() {
    const { paused, currentTime, duration } = this.#audio;
    const whole = Number.isFinite(duration) && duration > 0 ? duration : this.#duration;
    this.#button.dataset.state = paused ? "paused" : "playing";
    say(this.#button, paused ? "play.start" : "play.pause", {}, "aria-label");
    this.#slider.max = String(whole);
    this.#slider.value = String(currentTime);
    this.#slider.style.setProperty("--part", `${(100 * currentTime) / Math.max(whole, 0.1)}%`);
    this.#slider.setAttribute("aria-valuetext", `${clock(currentTime)} / ${clock(whole)}`);
    this.#time.textContent = `${clock(currentTime)} / ${clock(whole)}`;
    cancelAnimationFrame(this.#frame);
    if (paused) {
      this.#onTime(null);
      return;
    }
    this.#onTime(currentTime);
    // More often than `timeupdate` comes: a word may be shorter than its pause.
    this.#frame = requestAnimationFrame(() => {
      if (this.#audio.currentTime >= this.#until) this.#audio.pause();
      this.#show();
    });
  }
}
