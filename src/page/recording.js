// What was recorded, as a file that can be played and saved.

/** Two hours at 16 kHz. */
const MOST_BYTES = 2 * 3600 * 16_000 * 2;
/** Pieces are put together to blobs of this size, which browsers may keep on disk. */
const BLOB_BYTES = 1 << 20;
const HEADER_BYTES = 44;

export class Recording {
  #rate;
  /** @type {Blob[]} */ #blobs = [];
  /** @type {Int16Array<ArrayBuffer>[]} */ #pieces = [];
  #loose = 0;
  #bytes = 0;

  /** @param {number} rate */
  constructor(rate) {
    this.#rate = rate;
  }

  /** Whether no more is kept. */
  get isFull() {
    return this.#bytes >= MOST_BYTES;
  }

  /** @param {Int16Array<ArrayBuffer>} pcm */
  add(pcm) {
    if (this.isFull) return;
    this.#pieces.push(pcm);
    this.#loose += pcm.byteLength;
    this.#bytes += pcm.byteLength;
    if (this.#loose >= BLOB_BYTES) this.#gather();
  }

  #gather() {
    this.#blobs.push(new Blob(this.#pieces));
    this.#pieces = [];
    this.#loose = 0;
  }

  /** A WAV file. */
  file() {
    this.#gather();
    return new Blob([header(this.#rate, this.#bytes), ...this.#blobs], { type: "audio/wav" });
  }
}

/**
 * Of a WAV file: 16 bits, mono.
 * @param {number} rate
 * @param {number} bytes
 */
function header(rate, bytes) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const text = (/** @type {number} */ at, /** @type {string} */ letters) =>
    [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return view;
}
