// Files are uploaded, cancelled and refused; another person sees them.

import { createHash } from "node:crypto";

/** Drop files on the page, given as names and sizes; all their bytes are 7. */
const drop = (page, files) => page.evaluate((all) => {
  const dataTransfer = new DataTransfer();
  for (const [name, size] of Object.entries(all)) dataTransfer.items.add(new File([new Uint8Array(size).fill(7)], name));
  for (const type of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}, files);

export default async function ({ open, shoot, has, online, expect }) {
  const ada = await open();
  const ben = await open({ phone: true });
  await online(ada);
  await online(ben);

  const photo = Buffer.alloc(3_456_789, 7);
  const attack = '<img src=x onerror="window.hacked=1">.txt';
  await ada.evaluate(() => {
    window.seen = new Set();
    new MutationObserver(() => document.querySelectorAll("progress").forEach((bar) => window.seen.add(bar.value)))
      .observe(document.getElementById("transfers"), { subtree: true, childList: true, attributes: true });
  });
  await drop(ada, { "photo.raw": photo.length, empty: 0, [attack]: 5 });
  await has(ben, "#files li", "photo.raw");
  await has(ben, "#files code", createHash("sha256").update(photo).digest("hex"));
  await has(ben, "#files li", attack);
  await ada.waitForFunction(() => document.querySelectorAll('.transfer[data-state="done"]').length === 3);
  expect((await ada.evaluate(() => window.seen.size)) > 5, "the bar to move");
  expect((await ben.evaluate(() => window.hacked)) === undefined, "a name to stay text");

  await drop(ada, { "cancelled.raw": 49_000_000, "too-large.raw": 50_000_001 });
  await ada.getByRole("button", { name: "Cancel cancelled.raw" }).click();
  await has(ada, '[data-state="failed"]', "Cancelled");
  await has(ada, '[data-state="failed"]', "at most 50 MB");
  await ada.locator("#choose").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("after all that") });
  await has(ben, "#files li", "notes.txt");
  expect((await ben.locator("#files li").count()) === 4, "only whole files");
  await shoot(ada, "desktop");
  await shoot(ben, "phone");

  const answers = await ben.evaluate(async () => {
    const socket = io({ forceNew: true });
    const ask = (...args) => socket.emitWithAck(...args);
    const all = [await ask("piece", new ArrayBuffer(1)), await ask("finish"), await ask("begin", "x", 10 ** 12), await ask("begin", "", 1), await ask("begin", 7, "1")];
    await ask("begin", "liar", 10);
    all.push(await ask("piece", new ArrayBuffer(11)), await ask("finish"));
    socket.disconnect();
    return all;
  });
  expect(answers.every((answer) => answer.error), `refusals, not ${JSON.stringify(answers)}`);
}
