// Two tabs of one browser use the chat as people would.
//
// node chat.mjs URL CHROMIUM SCREENSHOTS. Prints one JSON value a line: {"check": name, "error": null | text} for every
// check, and {"do": "kill" | "start"} to have the server killed or started, which is confirmed by a line on stdin.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [url, executablePath, screenshots] = process.argv.slice(2);
const WAIT = 10_000; // ms for anything to appear
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

const replies = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const tellHost = async (what) => { print({ do: what }); await replies.next(); };

async function check(name, steps) {
  const error = await steps().then(() => null, (reason) => reason.stack);
  print({ check: name, error });
}

function expect(condition, what) {
  if (!condition) throw new Error(`expected ${what}`);
}

const browser = await chromium.launch({ executablePath, args: FLAGS });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
context.setDefaultTimeout(WAIT);
const complaints = [];

async function open(where = context) {
  const page = await where.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(url);
  return page;
}

async function enter(page, name) {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join the chat" }).click();
}

const say = async (page, text) => {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
};
const words = (page, text) => page.locator(".words", { hasText: text });
const sees = (page, text) => words(page, text).waitFor();
const has = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor();
const goTo = (page, room) => page.getByRole("navigation").getByRole("button", { name: room }).click();
/** The message box has a line's height, and is within a page of `height`. */
const boxIsWhole = async (page, height) => {
  const box = await page.getByLabel("Message", { exact: true }).boundingBox();
  expect(box.height > 20 && box.height < 60 && box.y + box.height <= height, `a box to write in, not ${JSON.stringify(box)}`);
};
const lastPicture = (page) => page.locator(".picture img").last();

/** A PNG of noise, which does not compress: about 3 bytes a pixel. */
const noise = (page, width, height) => page.evaluate(async ([w, h]) => {
  const canvas = new OffscreenCanvas(w, h);
  const context2d = canvas.getContext("2d");
  const pixels = context2d.createImageData(w, h);
  for (let at = 0; at < pixels.data.length; at += 65536) crypto.getRandomValues(pixels.data.subarray(at, at + 65536));
  for (let at = 3; at < pixels.data.length; at += 4) pixels.data[at] = 255;
  context2d.putImageData(pixels, 0, 0);
  const blob = await canvas.convertToBlob();
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
  });
}, [width, height]);

/** A drawing with something to look at, for the screenshots. */
const sunset = (page) => page.evaluate(async () => {
  const canvas = new OffscreenCanvas(640, 400);
  const pen = canvas.getContext("2d");
  const sky = pen.createLinearGradient(0, 0, 0, 400);
  [[0, "#28306e"], [0.5, "#d8627a"], [0.72, "#ffc27a"], [0.73, "#35508c"], [1, "#101c44"]].forEach(([at, color]) => sky.addColorStop(at, color));
  pen.fillStyle = sky;
  pen.fillRect(0, 0, 640, 400);
  pen.fillStyle = "#fff1c9";
  pen.beginPath();
  pen.arc(430, 262, 52, Math.PI, 0);
  pen.fill();
  const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
  return btoa(String.fromCharCode(...bytes));
});

async function shows(page, count) {
  await page.waitForFunction(
    (wanted) => {
      const images = [...document.querySelectorAll(".picture img")];
      return images.length === wanted && images.every((image) => image.src.startsWith("blob:") && image.naturalWidth > 0);
    },
    count, { timeout: WAIT });
}

const ada = await open();
await ada.screenshot({ path: `${screenshots}/entry.png` });
const ben = await open();

await check("entering with a name", async () => {
  await enter(ada, "Ada");
  await has(ada, "#title", "# lobby");
  await enter(ben, "Ben");
  await has(ben, "#title", "# lobby");
});

await check("there is room to write before the first key", async () => {
  for (const page of [ada, ben]) await boxIsWhole(page, 800);
});

await check("presence", async () => {
  await has(ada, ".event", "Ben joined");
  for (const page of [ada, ben]) {
    await has(page, "#members li", "Ada");
    await has(page, "#members li", "Ben");
    await has(page, "#count", "2 people");
  }
});

await check("the transport is upgraded to websocket", async () => {
  for (const page of [ada, ben]) await has(page, "#transport", "websocket");
});

await check("a message arrives in the other tab", async () => {
  await say(ada, "Hello Ben, did you see the sky last night?");
  await sees(ben, "Hello Ben");
});

await check("ticks tell that everybody has the message", async () => {
  await ada.locator('[data-state="all"]', { hasText: "Hello Ben" }).waitFor();
});

await check("typing is shown, and ends with the message", async () => {
  await ben.getByLabel("Message", { exact: true }).pressSequentially("I did!");
  await has(ada, "#typing", "Ben is typing");
  await ben.keyboard.press("Enter");
  await sees(ada, "I did!");
  await ada.waitForFunction(() => document.querySelector("#typing").textContent === "");
});

await check("markup stays text", async () => {
  const attack = '<img src=x onerror="window.hacked=1"><b>bold</b><script>window.hacked=1</script>';
  await say(ben, attack);
  await sees(ada, attack);
  const element = words(ada, attack);
  expect((await element.textContent()) === attack, "the text as it was typed");
  expect((await element.locator("*").count()) === 0, "no element made of it");
  const eve = await open();
  await enter(eve, "<i>Eve</i>");
  await has(ada, "#members li", "<i>Eve</i>");
  expect((await ada.locator("#members i, .event i").count()) === 0, "no element made of a name");
  await eve.close();
  for (const page of [ada, ben]) expect((await page.evaluate(() => window.hacked)) === undefined, "no script to run");
  await has(ada, ".event", "<i>Eve</i> left");
});

await check("a name in use is refused", async () => {
  const other = await open();
  await enter(other, "ADA");
  await other.getByText("already here").waitFor();
  await other.close();
});

await check("an image is sent as binary and displayed", async () => {
  await ada.locator("#file").setInputFiles({ name: "sky.png", mimeType: "image/png", buffer: Buffer.from(await sunset(ada), "base64") });
  await shows(ben, 1);
  await ada.locator('[data-state="all"] .picture').waitFor();
  expect((await lastPicture(ben).evaluate((image) => image.naturalWidth)) === 640, "the image as it was sent");
});

await check("a dropped image over the limit is sent smaller", async () => {
  const data = await noise(ben, 1300, 1000);
  await ben.evaluate((base64) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], "big.png", { type: "image/png" }));
    for (const type of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, data);
  await shows(ada, 2);
  const width = await lastPicture(ada).evaluate((image) => image.naturalWidth);
  expect(width > 300 && width <= 1300, `a smaller image, not ${width} pixels`);
});

await check("rooms are isolated, with an unread badge and a history", async () => {
  await ada.getByPlaceholder("New room").fill("Star gazing");
  await ada.keyboard.press("Enter");
  await has(ada, "#title", "# star gazing");
  await say(ada, "Only for those who are in this room");
  await has(ben, "#others button", "star gazing");
  await say(ben, "Ada, where are you?");
  await has(ada, "#joined button .badge", "1");
  await ada.waitForFunction(() => document.title === "(1) Chat");
  expect((await words(ada, "where are you").count()) === 0, "the lobby's message not in the other room");
  expect((await words(ben, "Only for those").count()) === 0, "the room's message not in the lobby");
  await goTo(ben, "star gazing");
  await sees(ben, "Only for those");
  await goTo(ada, "lobby");
  await sees(ada, "where are you");
  await ada.waitForFunction(() => document.title === "Chat");
  await goTo(ben, "lobby");
});

await check("the history and its images are there for a newcomer", async () => {
  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "dark" });
  const cleo = await open(phone);
  await cleo.screenshot({ path: `${screenshots}/entry-phone.png` });
  await enter(cleo, "Cleo");
  await sees(cleo, "Hello Ben");
  await boxIsWhole(cleo, 844);
  await shows(cleo, 2);
  await say(cleo, "Good evening, both of you 🌙");
  await sees(ada, "Good evening");
  await say(ada, "Hi Cleo! The pictures are from the hill behind the station, see https://example.org/hill for the way.");
  await ben.getByLabel("Message", { exact: true }).pressSequentially("Welcome");
  await has(cleo, "#typing", "Ben is typing");
  await cleo.screenshot({ path: `${screenshots}/phone-dark.png` });
  await cleo.getByRole("button", { name: "Show the rooms" }).tap();
  await cleo.waitForTimeout(300); // the drawer's movement
  await cleo.screenshot({ path: `${screenshots}/phone-rooms-dark.png` });
  await cleo.keyboard.press("Escape");
  expect((await cleo.evaluate(() => document.documentElement.scrollWidth)) <= 390, "nothing wider than the phone");
  await ada.screenshot({ path: `${screenshots}/desktop.png` });
  await ada.emulateMedia({ colorScheme: "dark" });
  await ada.screenshot({ path: `${screenshots}/desktop-dark.png` });
  await ada.emulateMedia({ colorScheme: "light" });
  await ben.getByLabel("Message", { exact: true }).fill("");
  await phone.close();
  await has(ada, ".event", "Cleo left");
});

await check("an image opens large and closes with Escape", async () => {
  await ada.locator(".picture").first().click();
  await ada.locator("#viewer[open]").waitFor();
  await ada.screenshot({ path: `${screenshots}/viewer.png` });
  await ada.keyboard.press("Escape");
  await ada.locator("#viewer:not([open])").waitFor({ state: "attached" });
});

await check("a reload comes back under the same name in the same room", async () => {
  await goTo(ben, "star gazing");
  await has(ben, "#title", "# star gazing");
  await ben.reload();
  await has(ben, "#title", "# star gazing");
  await has(ben, "#me", "Ben");
  await goTo(ben, "lobby");
});

await check("nothing is complained about in the console", async () => {
  expect(complaints.length === 0, `none of ${JSON.stringify(complaints)}`);
});

await check("when the server dies a banner appears", async () => {
  await tellHost("kill");
  for (const page of [ada, ben]) await has(page, "#banner:not([hidden])", "Connection lost");
  await ada.screenshot({ path: `${screenshots}/banner.png` });
});

await check("when the server is back both are in their room and can chat", async () => {
  await say(ada, "Written while the server was away");
  await ada.locator('[data-state="sending"]', { hasText: "Written while" }).waitFor();
  await tellHost("start");
  for (const page of [ada, ben]) {
    await page.locator("#banner[hidden]").waitFor({ state: "attached" });
    await has(page, "#count", "2 people");
    await has(page, "#transport", "websocket");
  }
  await sees(ben, "Written while");
  expect((await words(ben, "Written while").count()) === 1, "the message only once");
  await say(ben, "Welcome back");
  await sees(ada, "Welcome back");
  await sees(ada, "Hello Ben");
});

await check("somebody who closes the tab is gone", async () => {
  await ben.close();
  await has(ada, ".event", "Ben left");
  await has(ada, "#count", "only you");
});

await browser.close();
process.exit();
