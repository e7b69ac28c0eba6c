// Two play, a third watches and takes the seat of one who leaves.

const column = (page, number) => page.locator(".column").nth(number - 1);

async function play(page, number) {
  const before = await page.locator(".cell.red, .cell.yellow").count();
  await column(page, number).click();
  await page.waitForFunction((count) => document.querySelectorAll(".cell.red, .cell.yellow").length === count, before + 1);
}

export default async function ({ open, shoot, has, online, expect }) {
  const ada = await open();
  await online(ada);
  await ada.getByRole("button", { name: "New game" }).click();
  await has(ada, "#status", "Waiting for somebody");
  const code = await ada.locator("#name").textContent();

  const ben = await open({ phone: true });
  await ben.getByLabel("Or the code").fill(code);
  await ben.getByRole("button", { name: "Enter" }).click();
  await has(ben, "#status", "Red's turn");
  await has(ada, "#status", "Your turn");
  const cleo = await open({ path: `/#${code}` });
  await has(cleo, "#status", "Red's turn");
  await has(ada, "#watching", "1 watching");

  expect(await column(ben, 1).isDisabled(), "nobody to play out of turn");
  for (const number of [4, 3, 4, 3, 4]) {
    await play((await column(ada, 1).isEnabled()) ? ada : ben, number);
    await Promise.all([ada, ben].map((page) => page.waitForTimeout(20)));
  }
  await has(ben, "#status", "Your turn");
  const intruder = await cleo.evaluate(async (where) => {
    const socket = io({ forceNew: true });
    await socket.emitWithAck("enter", where);
    for (const junk of [0, -1, 7, "1", null, {}]) socket.emit("drop", junk);
    socket.emit("sit", "red");
    socket.emit("sit", ["red"]);
    socket.emit("again");
    const refused = await socket.emitWithAck("enter", { a: 1 });
    socket.disconnect();
    return refused.error;
  }, code);
  expect(intruder.includes("4 to 12"), "junk to be refused");
  expect((await cleo.locator(".cell.red, .cell.yellow").count()) === 5, "watchers not to play");

  await shoot(ben, "phone");
  await play(ben, 1);
  await has(ada, "#status", "Your turn");
  await column(ada, 4).focus();
  await ada.keyboard.press("Enter");
  await has(ada, "#status", "You have won");
  await has(ben, "#status", "Red has won");
  expect((await cleo.locator(".cell.won").count()) === 4, "the four shown");
  await ada.waitForTimeout(350); // the disc's fall
  await shoot(ada, "desktop");

  await ben.getByRole("button", { name: "Play again" }).click();
  await has(ada, "#status", "Yellow's turn");
  await ben.getByRole("button", { name: "Leave" }).click();
  await has(ada, "#status", "Waiting");
  await cleo.getByRole("button", { name: "Take the free seat" }).click();
  await has(cleo, "#status", "Your turn: you are Yellow");
  await ada.reload();
  await has(ada, "#status", "Yellow's turn");
}
