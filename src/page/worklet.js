// Runs on the browser's audio thread: samples become 16 bits, and leave in pieces of a twentieth of a second.

class Pcm16 extends AudioWorkletProcessor {
  #size = Math.round(sampleRate / 20);
  #piece = new Int16Array(this.#size);
  #filled = 0;
  #open = true;

  constructor() {
    super();
    this.port.onmessage = () => {
      this.#open = false;
      this.#leave();
      this.port.postMessage("end");
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    if (!this.#open) return false;
    const count = channels.length;
    const length = count ? channels[0].length : 0;
    for (let i = 0; i < length; i += 1) {
      let sample = 0;
      for (let c = 0; c < count; c += 1) sample += channels[c][i];
      sample = Math.max(-1, Math.min(1, sample / count));
      this.#piece[this.#filled] = Math.round(sample * 32767);
      this.#filled += 1;
      if (this.#filled === this.#size) this.#leave();
    }
    return true;
  }

  #leave() {
    if (this.#filled === 0) return;
    const piece = this.#filled === this.#size ? this.#piece : this.#piece.slice(0, this.#filled);
    this.port.postMessage(piece, [piece.buffer]);
    this.#piece = new Int16Array(this.#size);
    this.#filled = 0;
  }
}

registerProcessor("pcm16", Pcm16);
