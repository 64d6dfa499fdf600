// How the server is to transcribe, remembered by the browser.

import { keep, remembered } from "./i18n.js";

const REMEMBERED = "imesli.options";

export class Settings {
  #form;

  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.#form = form;
    const saved = read();
    for (const [name, field] of this.#fields()) {
      if (!(name in saved)) continue;
      if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = saved[name] === true;
      else if (typeof saved[name] === "string") field.value = saved[name];
    }
    form.addEventListener("input", () => keep(REMEMBERED, JSON.stringify(this.#values())));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** The fields of a message; what the user left to the server is absent. */
  get options() {
    const { language, orthography, prompt, words } = this.#values();
    /** @type {Record<string, string>} */
    const options = { timestamps: words ? "word" : "segment" };
    for (const [name, value] of Object.entries({ language, orthography, prompt })) {
      if (typeof value === "string" && value.trim()) options[name] = value.trim();
    }
    return options;
  }

  /** @returns {[string, HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement][]} */
  #fields() {
    const fields = /** @type {NodeListOf<HTMLInputElement>} */ (this.#form.querySelectorAll("[name]"));
    return [...fields].map((field) => [field.name, field]);
  }

  /** @returns {Record<string, string | boolean>} */
  #values() {
    return Object.fromEntries(
      this.#fields().map(([name, field]) => {
        const isBox = field instanceof HTMLInputElement && field.type === "checkbox";
        return [name, isBox ? field.checked : field.value];
      }),
    );
  }
}

/** @returns {Record<string, any>} */
function read() {
  try {
    const saved = JSON.parse(remembered(REMEMBERED) ?? "{}");
    return saved && typeof saved === "object" ? saved : {};
  } catch {
    return {};
  }
}
