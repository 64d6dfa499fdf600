// A transcript as a file: plain text, subtitles, or all that is known of it.

/**
 * @typedef {{ word: string, start: number, end: number, probability?: number }} Word
 * @typedef {{ start: number, end: number, text: string, raw_text?: string, words?: Word[] }} Segment
 * @typedef {object} Transcript
 * @property {string} name
 * @property {string} text
 * @property {Segment[]} segments
 * @property {string | null} [language]
 * @property {number} [duration]
 * @property {object} [more] what the server said beside all this
 */

const LINE_CHARS = 42;
const LINES = 2;
const CUE_SECONDS = 7;

/** @type {Record<string, { type: string, write: (transcript: Transcript) => string }>} */
export const FORMATS = {
  txt: { type: "text/plain", write: ({ text }) => `${text}\n` },
  srt: { type: "application/x-subrip", write: srt },
  vtt: { type: "text/vtt", write: vtt },
  json: { type: "application/json", write: json },
};

/** @param {Transcript} transcript */
function json({ text, segments, language, duration, more }) {
  return `${JSON.stringify({ ...more, transcription: text, language, duration, segments }, null, 2)}\n`;
}

/** @param {Transcript} transcript */
function srt({ segments }) {
  const blocks = cues(segments).map(
    ({ start, end, lines }, i) => `${i + 1}\n${clock(start, ",")} --> ${clock(end, ",")}\n${lines.join("\n")}\n`,
  );
  return blocks.join("\n");
}

/** @param {Transcript} transcript */
function vtt({ segments }) {
  // What a player would take for markup.
  const plain = (/** @type {string} */ line) =>
    line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const blocks = cues(segments).map(
    ({ start, end, lines }) => `${clock(start, ".")} --> ${clock(end, ".")}\n${lines.map(plain).join("\n")}\n`,
  );
  return ["WEBVTT\n", ...blocks].join("\n");
}

/**
 * @param {number} seconds
 * @param {string} point
 */
function clock(seconds, point) {
  const ms = Math.max(0, Math.round(seconds * 1000));
  const two = (/** @type {number} */ n) => String(Math.floor(n)).padStart(2, "0");
  const rest = String(ms % 1000).padStart(3, "0");
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}${point}${rest}`;
}

/**
 * Subtitles: no longer than two lines and a few seconds, where the times of words are known.
 * @param {Segment[]} segments
 */
export function cues(segments) {
  const all = [];
  for (const { start, end, text, words } of segments) {
    if (!words?.length) {
      if (text.trim()) all.push({ start, end, lines: wrap(text) });
      continue;
    }
    /** @type {Word[]} */ let cue = [];
    const close = () => {
      const lines = wrap(cue.map((word) => word.word).join(""));
      if (lines.length) all.push({ start: cue[0].start, end: cue[cue.length - 1].end, lines });
      cue = [];
    };
    for (const word of words) {
      const longer = [...cue, word];
      const isTooMuch =
        wrap(longer.map((one) => one.word).join("")).length > LINES || word.end - longer[0].start > CUE_SECONDS;
      if (cue.length && isTooMuch) close();
      cue.push(word);
    }
    close();
  }
  return all;
}

/** @param {string} text */
function wrap(text) {
  const lines = [];
  let line = "";
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (line && line.length + 1 + word.length > LINE_CHARS) {
      lines.push(line);
      line = word;
    } else {
      line = line ? `${line} ${word}` : word;
    }
  }
  if (line) lines.push(line);
  return lines;
}

/**
 * Hands a file to the browser's downloads.
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Not at once: the download has to begin first.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Into the clipboard. Pages that came by plain http have no `navigator.clipboard`.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return done;
  }
}
