// The page for people of all kinds: languages, keyboard, screen readers, phones, and what goes wrong.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { THEO, finished, played } from "./files.mjs";
import * as sound from "./sound.mjs";

const AXE = join(process.env.CLIENT_MODULES, "axe-core/axe.min.js");

/** What has the focus. */
const focused = (page) => page.run(() => {
  const { activeElement: element } = document;
  return element.id || element.className || element.tagName;
});

/** Presses the tab key until it has come to an element. */
async function tabTo(page, wanted) {
  for (let i = 0; i < 40; i += 1) {
    if ((await focused(page)).includes(wanted)) return;
    await page.press("Tab");
  }
  assert.fail(`the tab key does not come to ${wanted}`);
}

/** Violations that axe finds, and buttons and fields without a name or too small for a finger. */
async function faults(page) {
  const { nodes } = await page.call("Accessibility.getFullAXTree");
  const roles = new Set(["button", "textbox", "combobox", "slider", "checkbox", "link", "progressbar"]);
  const nameless = nodes
    .filter((node) => !node.ignored && roles.has(node.role?.value) && !node.name?.value)
    .map((node) => `a ${node.role.value} without a name`);
  const small = await page.run(() =>
    [...document.querySelectorAll("button, select, input:not(.unseen):not([type=checkbox]), summary, textarea, .drop, .check")]
      .filter((element) => element.checkVisibility())
      .map((element) => [element, element.getBoundingClientRect()])
      .filter(([, { width, height }]) => Math.min(width, height) < 43.9)
      .map(([element, { width, height }]) => `${element.className || element.id} is ${width} × ${height}`));
  const wide = await page.run(() => document.documentElement.scrollWidth > innerWidth);
  const found = [...nameless, ...small, ...(wide ? ["the page is wider than its window"] : [])];
  if (!existsSync(AXE)) return found;
  await page.run(`() => { ${readFileSync(AXE, "utf8")}; window.axe = axe; }`);
  const violations = await page.run(async () =>
    (await window.axe.run(document)).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n")}`));
  return [...found, ...violations];
}

export async function people({ check, server, folder, pictures }) {
  if (!existsSync(AXE)) console.log("SKIPPED: axe (npm install axe-core); names and sizes are looked at by hand");

  await check("the language of the browser is taken, another one remembered", async (page) => {
    await page.open(server.url);
    assert.equal(await page.text("#record"), "Enregistrer");
    for (const [code, text, spoken] of [["kab", "Bdu asekles", "Yeqqen"], ["en", "Start recording", "Connected"], ["fr", "Enregistrer", "Connecté"], ["kab", "Bdu asekles", "Yeqqen"]]) {
      await page.run((value) => {
        const select = document.querySelector("#page-language");
        select.value = value;
        select.dispatchEvent(new Event("change"));
      }, code);
      assert.equal(await page.text("#record"), text);
      assert.equal(await page.run(() => document.documentElement.lang), code);
      await until(spoken, async () => (await page.text("#connection-text")) === spoken);
    }
    await page.reload();
    assert.equal(await page.text("#record"), "Bdu asekles");
    await page.choose("#files", [THEO]);
    await finished(page, "theo");
    assert.equal(await page.text(".copy"), "Nɣel");
    assert.match(await page.text(".status"), /4 n wawalen/);
    // A text that is there already is told anew.
    await page.run(() => {
      const select = document.querySelector("#page-language");
      select.value = "fr";
      select.dispatchEvent(new Event("change"));
    });
    assert.match(await page.text(".status"), /4 mots/);
    assert.equal(await page.run(() => document.querySelector(".time").getAttribute("aria-label")), "Écouter à partir de 0:00");
  }, { languages: "fr-CA,en" });

  await check("the three dictionaries have the same sentences", async (page) => {
    await page.open(server.url);
    const differing = await page.run(async () => {
      const [en, ...others] = await Promise.all(["en", "fr", "kab"].map(async (name) => (await import(`/${name}.js`)).default));
      const values = (text) => (text.match(/\{\w+\}/g) ?? []).sort().join();
      return others.flatMap((other) => [...new Set([...Object.keys(en), ...Object.keys(other)])]
        .filter((key) => !en[key] || !other[key] || values(en[key]) !== values(other[key])));
    });
    assert.deepEqual(differing, []);
    // Every sentence that the page names is there.
    const missing = await page.run(async () => {
      const en = (await import("/en.js")).default;
      const names = ["main", "session", "uploads", "entry", "player", "transcript", "microphone"];
      const code = await Promise.all(names.map(async (name) => (await fetch(`/${name}.js`)).text()));
      const html = await (await fetch("/")).text();
      const keys = [...code.join("").matchAll(/(?:\bsay\([^,]+, |\bt\(|status\(|notice\(|problem\(|offer\(|return )"([a-z][\w.-]*)"/g), ...html.matchAll(/data-t[a-z-]*="([^"]+)"/g)];
      return keys.map((found) => found[1]).filter((key) => !(key in en));
    });
    assert.deepEqual(missing, []);
  });

  await check("all is done by the keyboard", async (page) => {
    await page.open(server.url);
    await page.press("Tab");
    assert.equal(await focused(page), "skip");
    await page.press("Enter");
    await tabTo(page, "page-language");
    await tabTo(page, "record");
    await tabTo(page, "files");
    await page.choose("#files", [THEO]);
    await finished(page, "theo");
    await tabTo(page, "time");
    await page.press("Enter");
    assert.ok((await played(page))[1] > 2);
    for (const wanted of ["seven", "three", "zero"]) {
      await page.press("ArrowRight");
      assert.equal(await page.text(".word.chosen"), wanted);
    }
    await page.press("ArrowLeft");
    assert.equal(await page.text(".word.chosen"), "three");
    await played(page);
    // One stop for all of the text.
    await page.press("Tab");
    assert.equal(await focused(page), "play");
    await page.press("Tab");
    await page.press("Tab");
    assert.ok((await focused(page)).includes("copy"));
    await page.press(" ");
    await until("the text to be copied", async () => (await page.text(".copy")) === "Copied");
    await tabTo(page, "remove");
    await page.press("Enter");
    assert.equal(await focused(page), "record");
    await tabTo(page, "record");
    await page.press("Enter");
    await until("the recording to begin", async () => (await page.text("#record")) === "Stop");
    await page.press(" ");
    await until("the recording to end", async () => (await page.text("#record")) === "Start recording");
  });

  for (const [name, look] of [["a desk", {}], ["a phone", { width: 390, height: 844, phone: true }]]) {
    await check(`nothing is in the way of anybody, on ${name}`, async (page) => {
      await page.open(server.url);
      await page.click(".options summary");
      assert.deepEqual(await faults(page), []);
      await page.choose("#files", [THEO]);
      await finished(page, "theo");
      assert.deepEqual(await faults(page), []);
      await page.look(true);
      assert.deepEqual(await faults(page), []);
      await page.click("#record");
      await until("the recording to begin", async () => (await page.text("#record")) === "Stop");
      assert.deepEqual(await faults(page), []);
      await page.click("#record");
    }, look);
  }

  await check("a page that came by plain http says why it has no microphone, and takes files", async (page) => {
    await page.open(server.url.replace("localhost", "imesli.test"));
    await until("the reason", async () => (await page.text("#notice")).includes("https"));
    await page.click("#record");
    await until("the reason again", async () => (await page.text("#notice")).includes("https"));
    await page.choose("#files", [THEO]);
    assert.equal(await finished(page, "theo"), "seven three zero nine");
    await page.click(".copy");
    await until("the text to be copied", async () => (await page.text(".copy")) === "Copied");
  });

  await check("a blocked microphone is told", async (page) => {
    await page.open(server.url);
    await page.click("#record");
    await until("the reason", async () => (await page.text("#notice")).includes("blocked"));
    assert.equal(await page.text("#record"), "Start recording");
    await page.click("#notice-close");
    assert.equal(await focused(page), "record");
  }, { denied: true });

  await check("a microphone that is missing, taken or pulled out is told, and what was said by then is kept", async (page) => {
    await page.open(server.url);
    for (const [name, text] of [["NotFoundError", "No microphone was found"], ["NotReadableError", "another program"]]) {
      await page.run((wanted) => {
        window.real ??= navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", wanted));
      }, name);
      await page.click("#record");
      await until(text, async () => (await page.text("#notice")).includes(text));
    }
    await page.run(() => {
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await window.real(wanted));
    });
    await page.click("#record");
    await until("two seconds", async () => Number((await page.text("#clock")).slice(-2)) >= 2);
    await page.run(() => window.stream.getTracks()[0].dispatchEvent(new Event("ended")));
    await until("the loss", async () => (await page.text("#notice")).includes("The microphone is gone"));
    assert.equal(await page.text("#record"), "Start recording");
    await until("its text", () => page.run(() => document.querySelector(".entry").dataset.state === "done"));
    assert.equal(await page.run(() => document.querySelector("[data-format=wav]").checkVisibility()), true);
  });

  await check("hours of text stay fast", async (page) => {
    await page.open(server.url);
    // Eight hours at a segment of ten words each five seconds; the last of them as slow as the first.
    const took = await page.run(async () => {
      const { TranscriptView } = await import("/transcript.js");
      const view = new TranscriptView();
      document.querySelector("#entries").append(view.element);
      const segment = (i) => ({
        start: 5 * i, end: 5 * i + 5, text: " word".repeat(10),
        words: Array.from({ length: 10 }, (_, k) => ({ word: " word", start: 5 * i + k / 2, end: 5 * i + k / 2 + 0.4 })),
      });
      for (let i = 0; i < 5760; i += 1) view.add(segment(i));
      document.body.getBoundingClientRect();
      const begin = performance.now();
      for (let i = 0; i < 100; i += 1) {
        view.add(segment(5760 + i));
        view.tail("what is said", " now");
        view.element.getBoundingClientRect();
      }
      return (performance.now() - begin) / 100;
    });
    console.log(`   ${took.toFixed(2)} ms for each segment`);
    assert.ok(took < 25, `${took} ms`);
  });

  if (pictures) await photograph(check, server, folder, pictures);
}

/** Screenshots, for the documentation. */
async function photograph(check, server, folder, pictures) {
  const parts = ["jackson-4815162390", "theo-7309", "yweweler-600142", "nicolas-5521"].map((name) => `tests/data/${name}.wav`);
  const digits = sound.write(join(folder, "Digits, four voices.wav"), sound.join(parts.flatMap((part) => [part, 1.1]), 16_000));
  const microphone = sound.write(join(folder, "pictures.wav"), sound.join([0.4, parts[1], 1.4, parts[3], 1.4, parts[2], 1.4, parts[0], 600], 48_000));
  /** While the end of a later phrase may still change. */
  const changing = (page) => until("words that may change", () => page.run(() => {
    const entry = document.querySelector(".entry");
    const [stays, may] = entry.querySelector(".tail").childNodes;
    return entry.querySelector(".segment") && stays.data.trim() !== "" && may.textContent.trim() !== "";
  }));
  for (const dark of [false, true]) {
    const shot = async (page, name) => {
      writeFileSync(join(pictures, `page-${name}${dark ? "-dark" : ""}.png`), await page.picture());
    };
    await check(`pictures of a desk${dark ? ", at night" : ""}`, async (page) => {
      await page.open(server.url);
      await page.choose("#files", [digits]);
      await finished(page, "Digits");
      await page.click("#record");
      await changing(page);
      await shot(page, "desk");
      await page.click("#record");
    }, { dark, microphone, width: 1280, height: 800 });
    await check(`pictures of a phone${dark ? ", at night" : ""}`, async (page) => {
      await page.open(server.url);
      await page.choose("#files", [digits]);
      await finished(page, "Digits");
      await page.run(() => document.querySelector("#transcripts").scrollIntoView());
      await new Promise((resolve) => setTimeout(resolve, 400));
      await shot(page, "phone");
      await page.click("#record");
      await changing(page);
      await shot(page, "phone-recording");
      await page.click("#record");
    }, { dark, microphone, width: 390, height: 844, phone: true });
  }
}
