// Audio that the server may ask for again. Positions are samples since the recording began.

export class Kept {
  /** @type {Int16Array<ArrayBuffer>[]} */ #pieces = [];
  #most;
  /** The first sample that is still here. */
  first = 0;
  /** One behind the last. */
  end = 0;

  /** @param {number} most samples that are kept at the most */
  constructor(most) {
    this.#most = most;
  }

  /** @param {Int16Array<ArrayBuffer>} pcm */
  add(pcm) {
    this.#pieces.push(pcm);
    this.end += pcm.length;
    if (this.end - this.first > this.#most) this.drop(this.end - this.#most);
  }

  /**
   * Forgets what lies before a sample.
   * @param {number} before
   */
  drop(before) {
    let whole = 0;
    while (whole < this.#pieces.length && this.first + this.#pieces[whole].length <= before) {
      this.first += this.#pieces[whole].length;
      whole += 1;
    }
    if (whole) this.#pieces.splice(0, whole);
    if (this.first < before && this.#pieces.length) {
      const rest = this.#pieces[0].subarray(before - this.first);
      this.#pieces[0] = rest;
      this.first = before;
    }
  }

  /**
   * What begins at a sample, at most so much; nothing where there is none.
   * @param {number} start
   * @param {number} most
   */
  from(start, most) {
    const parts = [];
    let at = this.first;
    let length = 0;
    for (const piece of this.#pieces) {
      if (at + piece.length > start && length < most) {
        const part = piece.subarray(Math.max(0, start - at)).subarray(0, most - length);
        parts.push(part);
        length += part.length;
      }
      at += piece.length;
      if (length >= most) break;
    }
    const all = new Int16Array(length);
    let filled = 0;
    for (const part of parts) {
      all.set(part, filled);
      filled += part.length;
    }
    return all;
  }
}
