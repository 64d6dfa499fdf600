// Stands between page and server, and breaks connections: what a bad network does.
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Proxy {
  #pairs = new Set();
  #server;
  #cutAt = Infinity;
  #onCut = () => {};
  /** Bytes that went to the server. */
  sent = 0;

  static async start(port) {
    const proxy = new Proxy();
    proxy.#server = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      const pair = { near, far };
      proxy.#pairs.add(pair);
      const end = () => {
        near.destroy();
        far.destroy();
        proxy.#pairs.delete(pair);
      };
      near.on("data", (data) => {
        proxy.sent += data.length;
        far.write(data);
        if (proxy.sent >= proxy.#cutAt) {
          proxy.#cutAt = Infinity;
          proxy.cut();
          proxy.#onCut();
        }
      });
      far.on("data", (data) => near.write(data));
      for (const socket of [near, far]) socket.on("error", end).on("close", end);
    }).listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url() {
    return `http://localhost:${this.#server.address().port}/`;
  }

  /** Breaks all connections off. */
  cut() {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** The same, as soon as so many bytes more have gone to the server. */
  cutAfter(bytes) {
    this.#cutAt = this.sent + bytes;
    return new Promise((resolve) => {
      this.#onCut = resolve;
    });
  }

  async stop() {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
