// Sound for the tests: recordings of the repository, as the microphone of Chromium and as files of any length.
import { readFileSync, writeFileSync } from "node:fs";

/** The samples of a WAV file, 16 bits, mono. */
export function read(path) {
  const bytes = readFileSync(path);
  let at = 12;
  let rate = 0;
  while (at + 8 <= bytes.length) {
    const name = bytes.toString("latin1", at, at + 4);
    const size = bytes.readUInt32LE(at + 4);
    if (name === "fmt ") rate = bytes.readUInt32LE(at + 12);
    if (name === "data") {
      const samples = new Int16Array(size >> 1);
      for (let i = 0; i < samples.length; i += 1) samples[i] = bytes.readInt16LE(at + 8 + 2 * i);
      return { rate, samples };
    }
    at += 8 + size + (size & 1);
  }
  throw new Error(`${path} has no samples`);
}

/** At a higher rate: a windowed sinc, so that nothing is heard above what was there. */
export function resample({ rate, samples }, to) {
  const out = new Int16Array(Math.floor((samples.length * to) / rate));
  const reach = 16;
  for (let i = 0; i < out.length; i += 1) {
    const at = (i * rate) / to;
    const middle = Math.floor(at);
    let sum = 0;
    for (let k = middle - reach + 1; k <= middle + reach; k += 1) {
      const x = at - k;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      sum += (samples[k] ?? 0) * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / reach));
    }
    out[i] = Math.max(-32768, Math.min(32767, Math.round(sum)));
  }
  return { rate: to, samples: out };
}

/** Recordings (paths) and pauses (seconds), one after the other. */
export function join(parts, rate) {
  const all = parts.map((part) =>
    typeof part === "number" ? new Int16Array(Math.round(part * rate)) : resample(read(part), rate).samples,
  );
  const samples = new Int16Array(all.reduce((sum, one) => sum + one.length, 0));
  let filled = 0;
  for (const one of all) {
    samples.set(one, filled);
    filled += one.length;
  }
  return { rate, samples };
}

export function write(path, { rate, samples }) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(2 * rate, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => bytes.writeInt16LE(sample, 44 + 2 * i));
  writeFileSync(path, bytes);
  return path;
}
