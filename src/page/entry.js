// One recording or file on the page: its name, how far it is, its text, and what can be done with it.

import { FORMATS, copy, save } from "./export.js";
import { knows, say, t } from "./i18n.js";
import { Player } from "./player.js";
import { TranscriptView, clock } from "./transcript.js";

const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#entry"));
const announcer = /** @type {HTMLElement} */ (document.querySelector("#announcer"));
let count = 0;

/**
 * To those who don't see the page.
 * @param {string} text
 */
export function announce(text) {
  // The same sentence twice would be no change.
  announcer.textContent = announcer.textContent === text ? `${text}\u00a0` : text;
}

/**
 * The sentence for a code of the server.
 * @param {string} code
 */
export function sentence(code) {
  return knows(`error.${code}`) ? `error.${code}` : "error.other";
}

export class Entry {
  element;
  view = new TranscriptView();
  name;
  /** @type {import("./export.js").Transcript | null} */ #transcript = null;
  /** @type {Player | null} */ #player = null;
  /** @type {Blob | null} */ #audio = null;
  #removed;

  /**
   * @param {string} name
   * @param {() => void} removed
   */
  constructor(name, removed) {
    this.name = name;
    this.#removed = removed;
    const copied = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.element = /** @type {HTMLElement} */ (copied.firstElementChild);
    count += 1;
    const heading = this.#find("h3");
    heading.id = `entry-${count}`;
    heading.textContent = name;
    this.element.setAttribute("aria-labelledby", heading.id);
    for (const part of this.element.querySelectorAll("[data-say]")) {
      for (const [attribute, [key, values]] of Object.entries(JSON.parse(part.getAttribute("data-say") ?? "{}"))) {
        say(part, key, { ...values, name }, attribute);
      }
    }
    this.#find(".place").replaceWith(this.view.element);
    this.#find(".copy").onclick = () => this.#copy();
    this.#find(".remove").onclick = () => this.remove();
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (this.element.querySelectorAll("[data-format]"))) {
      button.onclick = () => this.#save(button.dataset.format ?? "");
    }
    document.querySelector("#entries")?.prepend(this.element);
    document.body.classList.add("has-entries");
  }

  /** @param {string} selector @returns {HTMLElement} */
  #find(selector) {
    return /** @type {HTMLElement} */ (this.element.querySelector(selector));
  }

  /**
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   * @param {string} [state] for the looks
   */
  status(key, values = {}, state = "busy") {
    this.element.dataset.state = state;
    say(this.#find(".status"), key, values);
  }

  /** @param {number | null} percent nothing hides it */
  progress(percent) {
    const bar = /** @type {HTMLProgressElement} */ (this.#find("progress"));
    bar.hidden = percent === null;
    bar.value = percent ?? 0;
  }

  /**
   * Something that the user should know; without a key, there is nothing any more.
   * @param {string | null} key
   * @param {Record<string, string | number>} [values]
   * @param {string} [detail] of the server, in English
   */
  problem(key, values = {}, detail = "") {
    const box = this.#find(".problem");
    box.hidden = key === null;
    if (key === null) return;
    say(this.#find(".problem-text"), key, values);
    this.#find(".problem-detail").textContent = detail;
  }

  /**
   * A button that mends the problem.
   * @param {string} key
   * @param {() => void} action
   */
  offer(key, action) {
    const button = this.#find(".mend");
    say(button, key);
    button.hidden = false;
    button.onclick = () => {
      button.hidden = true;
      this.problem(null);
      action();
    };
  }

  /**
   * @param {Blob} audio
   * @param {number} duration
   * @param {boolean} isRecording it is nowhere but here, and can be saved
   */
  playable(audio, duration, isRecording) {
    this.#player?.close();
    this.#audio = audio;
    const refused = () => {
      this.problem("play.refused");
      this.#player?.element.remove();
    };
    const player = new Player(audio, duration, (time) => this.view.highlight(time), refused);
    this.#player = player;
    this.#find(".player-place").replaceChildren(player.element);
    this.view.play = (start, end) => player.part(start, end);
    this.#find("[data-format=wav]").hidden = !isRecording;
    this.#find(".actions").hidden = false;
  }

  /** @param {import("./export.js").Transcript} transcript */
  finish(transcript) {
    this.#transcript = transcript;
    this.progress(null);
    this.view.tail("", "");
    this.view.set(transcript.segments);
    const words = transcript.text.split(/\s+/).filter(Boolean).length;
    const values = { duration: clock(transcript.duration ?? 0), words, language: transcript.language ?? "" };
    const key = words === 0 ? "done.nothing" : words === 1 ? "done.word" : "done.words";
    this.status(key, values, "done");
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (this.element.querySelectorAll(".needs-text"))) {
      button.hidden = words === 0;
    }
    this.#find(".actions").hidden = false;
    announce(t("done.announced", { name: this.name }));
  }

  remove() {
    this.#player?.close();
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    const hadFocus = this.element.contains(document.activeElement);
    this.element.remove();
    if (!next) document.body.classList.remove("has-entries");
    // Where the keyboard goes on from.
    const to = /** @type {HTMLElement | null} */ (next?.querySelector("h3") ?? document.querySelector("#record"));
    if (hadFocus) to?.focus();
    this.#removed();
  }

  async #copy() {
    const button = this.#find(".copy");
    const done = await copy(this.#transcript?.text ?? "");
    say(button, done ? "copied" : "copy.failed");
    announce(button.textContent ?? "");
    setTimeout(() => say(button, "copy"), 2000);
  }

  /** @param {string} format */
  #save(format) {
    const stem = this.name.replace(/\.[^.]{1,5}$/, "").replace(/[\\/:*?"<>|]+/g, "-");
    if (format === "wav") {
      if (this.#audio) save(this.#audio, `${stem}.wav`);
      return;
    }
    const { type, write } = FORMATS[format];
    if (this.#transcript) save(new Blob([write(this.#transcript)], { type: `${type};charset=utf-8` }), `${stem}.${format}`);
  }
}
