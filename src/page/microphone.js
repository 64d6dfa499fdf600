// The microphone, as 16-bit samples: no codec of the browser is needed.

/** The rate that speech models work at. A browser that refuses it gives its own. */
const RATE = 16_000;

/** Why there is no sound; `key` names the sentence that says so. */
export class MicrophoneError extends Error {
  /** @param {string} key */
  constructor(key) {
    super(key);
    this.key = key;
  }
}

/** @param {unknown} error */
function reason(error) {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "mic.denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "mic.missing";
    case "NotReadableError":
    case "AbortError":
      return "mic.busy";
    default:
      return "mic.failed";
  }
}

export class Microphone {
  #context;
  #stream;
  #node;
  /** @type {(() => void) | null} */ #flushed = null;

  /**
   * Asks for the microphone.
   * @param {(pcm: Int16Array<ArrayBuffer>) => void} onAudio
   * @param {() => void} onUnplugged
   */
  static async open(onAudio, onUnplugged) {
    if (!isSecureContext || !navigator.mediaDevices) throw new MicrophoneError("mic.insecure");
    if (!("AudioWorkletNode" in globalThis)) throw new MicrophoneError("mic.worklet");
    let stream;
    try {
      // Filters that are made for calls take something away from speech; a quiet microphone is worse.
      const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
      stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new MicrophoneError(reason(error));
    }
    let context;
    try {
      const opened = await Microphone.#listen(stream);
      context = opened.context;
      return new Microphone(stream, opened.context, opened.node, onAudio, onUnplugged);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      await context?.close();
      throw error instanceof MicrophoneError ? error : new MicrophoneError("mic.failed");
    }
  }

  /** @param {MediaStream} stream */
  static async #listen(stream) {
    let context;
    let source;
    try {
      context = new AudioContext({ sampleRate: RATE });
      source = context.createMediaStreamSource(stream);
    } catch {
      // Firefox does not connect a microphone to a context of another rate.
      await context?.close();
      context = new AudioContext();
      source = context.createMediaStreamSource(stream);
    }
    try {
      await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url).href);
    } catch {
      await context.close();
      throw new MicrophoneError("mic.worklet");
    }
    const node = new AudioWorkletNode(context, "pcm16", { numberOfOutputs: 0 });
    source.connect(node);
    await context.resume();
    return { context, node };
  }

  /**
   * @param {MediaStream} stream
   * @param {AudioContext} context
   * @param {AudioWorkletNode} node
   * @param {(pcm: Int16Array<ArrayBuffer>) => void} onAudio
   * @param {() => void} onUnplugged
   */
  constructor(stream, context, node, onAudio, onUnplugged) {
    this.#stream = stream;
    this.#context = context;
    this.#node = node;
    node.port.onmessage = ({ data }) => {
      if (data === "end") this.#flushed?.();
      else onAudio(data);
    };
    for (const track of stream.getAudioTracks()) track.onended = onUnplugged;
    // Phones take the sound away for a call.
    document.addEventListener("visibilitychange", this.#resume);
  }

  /** Samples per second. */
  get rate() {
    return this.#context.sampleRate;
  }

  #resume = () => {
    if (document.visibilityState === "visible" && this.#context.state !== "closed") void this.#context.resume();
  };

  /** Resolves when the last samples have come. */
  async close() {
    document.removeEventListener("visibilitychange", this.#resume);
    await new Promise((resolve) => {
      this.#flushed = () => resolve(undefined);
      this.#node.port.postMessage("end");
      // An audio thread that does not run any more answers nothing.
      setTimeout(resolve, 500);
    });
    for (const track of this.#stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    await this.#context.close();
  }
}
