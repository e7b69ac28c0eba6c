// The tutorial's page in two tabs: node two_tabs.mjs URL CHROMIUM prints what each tab shows, as JSON.

import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/", import.meta.url));
const { chromium } = require("playwright-core");

const [url, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const context = await browser.newContext();
context.setDefaultTimeout(10_000);

async function open(query) {
  const page = await context.newPage();
  await page.goto(`${url}/${query}`);
  return page;
}

const sees = (page, text) => page.locator("li", { hasText: text }).waitFor();
const lines = (page) => page.locator("li").allTextContents();

const shown = {};
const ann = await open("?name=Ann");
await sees(ann, "1 in the lobby");
const bob = await open("?name=Bob");
await sees(bob, "2 in the lobby");
await bob.locator("input").fill("hello");
await bob.getByRole("button").click();
await sees(bob, "Bob: hello");
shown.bob = await lines(bob);
await bob.close();
await sees(ann, "Bob has gone");
shown.ann = await lines(ann);
const nobody = await open("");
await sees(nobody, "refused");
shown.nobody = await lines(nobody);
await browser.close();
process.stdout.write(JSON.stringify(shown));
