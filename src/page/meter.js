// The loudness of the last seconds, as bars that move to the left.

const BAR = 3;
const GAP = 2;

export class Meter {
  #canvas;
  /** @type {number[]} */ #levels = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /**
   * Returns how loud it was, from 0 to 1.
   * @param {Int16Array} pcm
   */
  add(pcm) {
    let peak = 0;
    for (const sample of pcm) peak = Math.max(peak, Math.abs(sample));
    const level = peak / 32768;
    this.#levels.push(level);
    if (this.#levels.length > 1000) this.#levels.splice(0, 500);
    this.#draw();
    return level;
  }

  clear() {
    this.#levels = [];
    this.#draw();
  }

  #draw() {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(canvas).color;
    const bars = Math.floor(width / (BAR + GAP));
    for (let i = 0; i < bars; i += 1) {
      const level = this.#levels[this.#levels.length - bars + i] ?? 0;
      context.globalAlpha = level ? 1 : 0.35;
      // Speech is far from full scale: its root fills the height better.
      const length = Math.max(BAR, Math.sqrt(level) * height);
      context.beginPath();
      context.roundRect(i * (BAR + GAP), (height - length) / 2, BAR, length, BAR / 2);
      context.fill();
    }
  }
}
