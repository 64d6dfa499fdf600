// A server on a port that stays the same over restarts.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

/** A port that is free now. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class Server {
  #process = null;
  #command;
  #log = "";

  constructor(imesli, checkpoint, port, more = []) {
    /** Of what another one can be made. */
    this.made = [imesli, checkpoint];
    this.port = port;
    this.isSecure = more.includes("--tls-self-signed");
    this.#command = [imesli, ["--checkpoint", checkpoint, "--host", "127.0.0.1", "--port", String(port), ...more]];
  }

  get url() {
    return `${this.isSecure ? "https" : "http"}://localhost:${this.port}/`;
  }

  async start() {
    this.#log = "";
    const child = spawn(...this.#command, { stdio: ["ignore", "ignore", "pipe"] });
    this.#process = child;
    await new Promise((resolve, reject) => {
      child.stderr.on("data", (data) => {
        this.#log = (this.#log + data).slice(-100_000);
        // The port is bound before the model is loaded, and the line is written after.
        if (this.#log.includes("listening on")) resolve();
      });
      child.on("exit", () => reject(new Error(`the server did not start:\n${this.#log}`)));
      child.on("error", reject);
    });
  }

  /** `SIGKILL` breaks connections off, as a crash does. */
  async stop(signal = "SIGTERM") {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }
}
