// The page's own words, in three languages. What is said to the reader goes through `say`, so that it is said
// anew when another language is chosen.

import en from "./en.js";
import fr from "./fr.js";
import kab from "./kab.js";

/** @type {Record<string, Record<string, string>>} */
const LANGUAGES = { en, fr, kab };
const REMEMBERED = "imesli.page-language";

let current = "en";

/** The language that was chosen before, or the first of the browser's that there is. */
export function preferred() {
  const wanted = [remembered(REMEMBERED), ...navigator.languages.map((tag) => tag.split("-")[0].toLowerCase())];
  return wanted.find((code) => code !== null && Object.hasOwn(LANGUAGES, code)) ?? "en";
}

/**
 * @param {string} code
 * @param {boolean} remember
 */
export function choose(code, remember) {
  current = code;
  document.documentElement.lang = code;
  if (remember) keep(REMEMBERED, code);
  for (const element of document.querySelectorAll("[data-say]")) repeat(element);
}

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values] what stands for `{name}`
 */
export function t(key, values = {}) {
  const text = LANGUAGES[current][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Whether there is such a sentence. @param {string} key */
export const knows = (key) => Object.hasOwn(en, key);

/**
 * Writes a sentence into an element, or into one of its attributes.
 * @param {Element} element
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @param {string} [attribute]
 */
export function say(element, key, values = {}, attribute = "") {
  const html = /** @type {HTMLElement} */ (element);
  const all = html.dataset.say ? JSON.parse(html.dataset.say) : {};
  all[attribute] = [key, values];
  html.dataset.say = JSON.stringify(all);
  write(html, attribute, key, values);
}

/** @param {Element} element */
function repeat(element) {
  const html = /** @type {HTMLElement} */ (element);
  const all = JSON.parse(html.dataset.say ?? "{}");
  for (const [attribute, [key, values]] of Object.entries(all)) write(html, attribute, key, values);
}

/**
 * @param {HTMLElement} element
 * @param {string} attribute
 * @param {string} key
 * @param {Record<string, string | number>} values
 */
function write(element, attribute, key, values) {
  const text = t(key, values);
  if (attribute) {
    if (element.getAttribute(attribute) !== text) element.setAttribute(attribute, text);
  } else if (element.textContent !== text) {
    element.textContent = text;
  }
}

/**
 * The elements of the page itself name their sentence: `data-t`, and `data-t-…` for an attribute.
 * @param {ParentNode} root
 */
export function prepare(root) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("*"))) {
    for (const { name, value } of [...element.attributes]) {
      if (name === "data-t") say(element, value);
      else if (name.startsWith("data-t-")) say(element, value, {}, name.slice("data-t-".length));
    }
  }
}

/** @param {string} name */
export function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Some browsers keep nothing for pages that they are told to forget.
  }
}
