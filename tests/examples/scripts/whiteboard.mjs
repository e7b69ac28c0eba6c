// Two people draw; a third, on a phone, comes later.

/** The part of the canvas that has colour on it, a number from 0 to 1. */
const painted = (page) => page.evaluate(() => {
  const canvas = document.getElementById("canvas");
  const copy = new OffscreenCanvas(200, 150).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0, 200, 150);
  const { data } = copy.getImageData(0, 0, 200, 150);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) count += data[at + 3] > 50 && Math.min(data[at], data[at + 1], data[at + 2]) < 200;
  return count / (data.length / 4);
});

async function waitForPaint(page, wanted) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (wanted(await painted(page))) return;
    await page.waitForTimeout(50);
  }
  throw new Error(`the canvas has ${await painted(page)} painted`);
}

/** Draw through places given as shares of the board. */
async function draw(page, places) {
  const box = await page.locator("#canvas").boundingBox();
  const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(places[0]));
  await page.mouse.down();
  for (const place of places.slice(1)) await page.mouse.move(...at(place), { steps: 2 });
  await page.mouse.up();
}

const curve = (from, to, f) => Array.from({ length: 25 }, (_, step) => from + ((to - from) * step) / 24).map((x) => [x, f(x)]);

export default async function ({ open, shoot, has, online, expect }) {
  const ada = await open();
  const ben = await open();
  await online(ada);
  await online(ben);
  await has(ada, "#people", "2 people");

  await ada.getByLabel("Blue").check();
  await draw(ada, curve(0.08, 0.92, (x) => 0.72 + 0.06 * Math.sin(x * 14)));
  await waitForPaint(ben, (share) => share > 0.003);
  await ben.locator(".pointer").first().waitFor({ state: "attached" });

  await ben.getByLabel("Orange").check();
  await ben.getByLabel("Thick").check();
  await draw(ben, Array.from({ length: 30 }, (_, step) => [0.7 + 0.07 * Math.cos(step / 4.6), 0.28 + 0.1 * Math.sin(step / 4.6)]));
  await waitForPaint(ada, (share) => share > 0.01);

  const phone = await open({ phone: true });
  await online(phone);
  await waitForPaint(phone, (share) => share > 0.01);
  await shoot(phone, "phone");
  await shoot(ada, "desktop");
  await phone.close();
  await has(ada, "#people", "2 people");

  const before = await painted(ada);
  const junk = await ben.evaluate(() => new Promise((resolve) => {
    const socket = io();
    for (const line of [null, 7, {}, { colour: 99, width: 0, points: [0, 0] }, { colour: 0, width: 0, points: [0, "x"] }, { colour: 0, width: 0, points: Array(200).fill(0.5) }]) socket.emit("draw", line);
    socket.emit("point", "x", null);
    socket.on("lines", (lines) => { socket.disconnect(); resolve(lines.length); });
  }));
  expect(junk > 0, "the lines still there");
  expect(Math.abs((await painted(ada)) - before) < 1e-6, "nothing drawn by junk");

  await ada.getByRole("button", { name: "Clear" }).click();
  await waitForPaint(ben, (share) => share === 0);
}
