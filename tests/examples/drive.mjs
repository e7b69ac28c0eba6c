// Drives the examples in one Chromium: node drive.mjs CHROMIUM SCREENSHOTS.
//
// Each line on stdin, {"script": name, "url": where it runs}, has the default export of ./scripts/<name>.mjs run with
// the tools below, and is answered by a line {"error": null | text}.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { chromium } = createRequire(new URL("../browser/", import.meta.url))("playwright-core");
const [executablePath, screenshots] = process.argv.slice(2);
const WAIT = 30_000; // ms for anything to appear
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const LEFT = /WebSocket is closed before the connection is established/; // a client that is refused, or leaves, in its upgrade
const DESKTOP = { viewport: { width: 1180, height: 800 }, colorScheme: "light" };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "dark" };

const browser = await chromium.launch({ executablePath, args: FLAGS });

function expect(condition, what) {
  if (!condition) throw new Error(`expected ${what}`);
}

/** The buttons and fields that a screen reader could not name. */
const unnamed = (page) => page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea")]
  .filter((control) => control.checkVisibility() && !(control.ariaLabel || control.textContent.trim() || control.labels?.length))
  .map((control) => control.outerHTML));

async function run({ script, url }) {
  const complaints = [];
  const contexts = [];

  /** A tab of a browser of its own: nobody shares cookies. Settings: path, phone: true, or "context" for a tab beside another. */
  async function open({ path = "/", phone = false, context } = {}) {
    if (!context) contexts.push(context = await browser.newContext(phone ? PHONE : DESKTOP));
    context.setDefaultTimeout(WAIT);
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !LEFT.test(message.text())) complaints.push(message.text());
    });
    await page.goto(new URL(path, url).href);
    return page;
  }

  async function shoot(page, name) {
    if (screenshots) await page.screenshot({ path: `${screenshots}/${script}-${name}.png` });
  }

  const has = (page, selector, text, timeout = 30000) => page.locator(selector, { hasText: text }).first().waitFor({ timeout });
  const online = (page) => has(page, "#connection", "websocket");

  try {
    const { default: use } = await import(`./scripts/${script}.mjs`);
    await use({ open, shoot, has, online, expect, url });
    for (const page of contexts.flatMap((context) => context.pages())) {
      const { scroll, width } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, width: innerWidth }));
      expect(scroll <= width, `nothing wider than the window, ${scroll} > ${width}`);
      expect((await unnamed(page)).length === 0, `a name for each control, not ${await unnamed(page)}`);
    }
    expect(complaints.length === 0, `no complaints in the console, not ${JSON.stringify(complaints)}`);
  } finally {
    for (const context of contexts) await context.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const error = await run(JSON.parse(line)).then(() => null, (reason) => String(reason.stack ?? reason));
  process.stdout.write(`${JSON.stringify({ error })}\n`);
}
await browser.close();
process.exit();
