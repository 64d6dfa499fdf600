// The text on the page: segments with their times, and behind them what is still being said.

import { say } from "./i18n.js";

/** @typedef {import("./export.js").Segment} Segment */

/** A word is played with a little of what is around it, or its first sound is cut. */
const MARGIN = 0.06;

/**
 * Minutes and seconds, as players write them.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} [text]
 */
function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export class TranscriptView {
  element = make("div", "transcript");
  #rows = make("div", "rows");
  #tail = make("p", "tail");
  #committed = document.createTextNode("");
  #volatile = make("span", "volatile");
  /** @type {((start: number, end: number) => void) | null} */ #play = null;
  /** Words with their times, in order. @type {{ start: number, end: number, element: HTMLElement }[]} */ #timed = [];
  /** @type {HTMLElement | null} */ #now = null;

  constructor() {
    this.element.classList.add("blank");
    this.#tail.hidden = true;
    // Changes several times a second: nothing to listen to.
    this.#volatile.setAttribute("aria-hidden", "true");
    this.#tail.append(this.#committed, this.#volatile);
    this.element.append(this.#rows, this.#tail);
    this.#rows.addEventListener("click", (event) => this.#clicked(event));
    this.#rows.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** @param {(start: number, end: number) => void} play */
  set play(play) {
    this.#play = play;
    this.element.classList.add("playable");
    for (const button of this.#buttons()) button.disabled = false;
  }

  /**
   * All of it, in place of what was there.
   * @param {Segment[]} segments
   */
  set(segments) {
    this.#timed = [];
    this.#now = null;
    const rows = document.createDocumentFragment();
    for (const segment of segments) if (segment.text.trim()) rows.append(this.#row(segment));
    this.#rows.replaceChildren(rows);
    this.#blank();
    this.#rove(this.#buttons()[0]);
  }

  /**
   * One more at the end.
   * @param {Segment} segment
   */
  add(segment) {
    if (!segment.text.trim()) return;
    const row = this.#row(segment);
    this.#rows.append(row);
    this.#blank();
    if (this.#rows.childElementCount === 1) this.#rove(this.#buttons()[0]);
  }

  /**
   * What no segment has yet.
   * @param {string} committed
   * @param {string} volatile
   */
  tail(committed, volatile) {
    const [stays, may] = this.#rows.childElementCount ? [committed.trimStart(), volatile] : [committed, volatile];
    this.#committed.data = stays;
    this.#volatile.textContent = stays.trim() ? may : may.trimStart();
    this.#tail.hidden = !committed.trim() && !volatile.trim();
    this.#blank();
  }

  /** Nothing takes no room. */
  #blank() {
    this.element.classList.toggle("blank", this.#tail.hidden && !this.#rows.firstChild);
  }

  /**
   * Marks the word that is heard.
   * @param {number | null} time
   */
  highlight(time) {
    let found = null;
    if (time !== null) {
      let [low, high] = [0, this.#timed.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.#timed[middle].start <= time) low = middle + 1;
        else high = middle;
      }
      const candidate = this.#timed[low - 1];
      if (candidate && time < candidate.end + MARGIN) found = candidate.element;
    }
    if (found === this.#now) return;
    this.#now?.classList.remove("now");
    found?.classList.add("now");
    this.#now = found;
  }

  /** @returns {HTMLButtonElement[]} */
  #buttons() {
    return [.../** @type {NodeListOf<HTMLButtonElement>} */ (this.#rows.querySelectorAll("button.time"))];
  }

  /** @param {Segment} segment */
  #row({ start, end, text, words }) {
    const row = make("div", "segment");
    row.dataset.start = String(start);
    row.dataset.end = String(end);
    const button = /** @type {HTMLButtonElement} */ (make("button", "time", clock(start)));
    button.type = "button";
    button.tabIndex = -1;
    button.disabled = !this.#play;
    say(button, "play.from", { time: clock(start) }, "aria-label");
    const line = make("p", "line");
    if (words?.length) {
      words.forEach((word, i) => {
        const span = make("span", "word", i === 0 ? word.word.trimStart() : word.word.trim());
        span.dataset.start = String(word.start);
        span.dataset.end = String(word.end);
        this.#timed.push({ start: word.start, end: word.end, element: span });
        if (i > 0) line.append(word.word.match(/^\s*/)?.[0] ?? "");
        line.append(span);
      });
    } else {
      line.textContent = text.trim();
      this.#timed.push({ start, end, element: line });
    }
    row.append(button, line);
    return row;
  }

  /** @param {Event} event */
  #clicked(event) {
    if (!this.#play || !(event.target instanceof Element)) return;
    // Somebody who marks text wants to copy it.
    if (String(getSelection() ?? "") && !event.target.closest("button")) return;
    const word = /** @type {HTMLElement | null} */ (event.target.closest(".word"));
    const row = /** @type {HTMLElement | null} */ (event.target.closest(".segment"));
    if (word) this.#play(Number(word.dataset.start) - MARGIN, Number(word.dataset.end) + MARGIN);
    else if (row) this.#play(Number(row.dataset.start), Number(row.dataset.end) + MARGIN);
    if (row) this.#rove(row.querySelector("button"));
  }

  /**
   * One stop of the tab key for all segments: up and down go from one to the next, left and right play words.
   * @param {KeyboardEvent} event
   */
  #pressed(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
    const buttons = this.#buttons();
    const at = buttons.indexOf(button);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.#rove(buttons[to]);
      buttons[to]?.focus();
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      event.preventDefault();
      this.#step(button, event.key === "ArrowRight" ? 1 : -1);
    }
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {number} by
   */
  #step(button, by) {
    const row = button.closest(".segment");
    const words = /** @type {HTMLElement[]} */ ([...(row?.querySelectorAll(".word") ?? [])]);
    const at = words.findIndex((word) => word.classList.contains("chosen"));
    const word = words[Math.max(0, Math.min(words.length - 1, at + by))];
    if (!word) return;
    for (const other of this.#rows.querySelectorAll(".chosen")) other.classList.remove("chosen");
    word.classList.add("chosen");
    this.#play?.(Number(word.dataset.start) - MARGIN, Number(word.dataset.end) + MARGIN);
  }

  /** @param {HTMLButtonElement | null | undefined} button */
  #rove(button) {
    if (!button) return;
    for (const other of this.#rows.querySelectorAll("button[tabindex='0']")) {
      /** @type {HTMLElement} */ (other).tabIndex = -1;
    }
    button.tabIndex = 0;
  }
}

/**
 * What is committed and has no segment yet.
 * @param {string} committed all of it
 * @param {Segment[]} segments
 */
export function pending(committed, segments) {
  let at = 0;
  for (const { text } of segments) {
    while (/\s/.test(committed[at] ?? "")) at += 1;
    // A segment whose text is not that of the phrase still stands for as much of it.
    at = Math.min(committed.length, at + text.trim().length);
  }
  return committed.slice(at);
}

