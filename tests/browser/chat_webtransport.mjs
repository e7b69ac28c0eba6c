// Two tabs in the chat that is served by WebTransport as well: node chat_webtransport.mjs URL CHROMIUM.
// Prints a JSON value: what was seen, or the error.

import { chromium } from "playwright-core";

const [url, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run"] });
const context = await browser.newContext();
context.setDefaultTimeout(30_000);

// On a busy machine the probe of WebSocket, which begins 200 ms later, may win: then once more.
async function enter(name, attempts = 4) {
  const page = await context.newPage();
  await page.goto(url);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join the chat" }).click();
  try {
    await page.locator("#transport", { hasText: /^web/ }).waitFor();
    await page.locator("#transport", { hasText: "webtransport" }).waitFor({ timeout: 1_000 });
  } catch (error) {
    await page.close();
    if (attempts === 1) throw error;
    return enter(name, attempts - 1);
  }
  return page;
}

try {
  const ann = await enter("Ann");
  const bob = await enter("Bob");
  await ann.getByLabel("Message", { exact: true }).fill("by QUIC");
  await ann.keyboard.press("Enter");
  await bob.locator(".words", { hasText: "by QUIC" }).waitFor();
  console.log(JSON.stringify({ transport: await bob.locator("#transport").textContent() }));
} catch (error) {
  console.log(JSON.stringify({ error: error.stack }));
} finally {
  await browser.close();
}
