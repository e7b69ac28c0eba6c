// Two play with the buzzers: of the version for python-socketio, and of ours.

async function enter(page, name) {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Play" }).click();
}

export default async function ({ open, shoot, has, online, expect }) {
  const ada = await open();
  const ben = await open({ phone: true });
  await enter(ada, "   ");
  await has(ada, "#error", "1 to 20");
  await enter(ada, "Ada");
  await enter(ben, "<i>Ben</i>");
  await online(ada);
  await online(ben);
  for (const page of [ada, ben]) await has(page, "#players", "<i>Ben</i>, Ada");

  await ada.getByRole("button", { name: "Buzz" }).click();
  await has(ada, "#status", "You were first!");
  await has(ben, "#status", "Ada was first!");
  expect(await ben.locator("#buzz").isDisabled(), "nobody to be second");
  await ben.getByRole("button", { name: "Cheer" }).click();
  await has(ada, "#cheers", "<i>Ben</i> cheers");
  expect((await ben.locator("#cheers").textContent()) === "", "only the others to hear of it");

  await ada.evaluate(() => {
    window.said = [];
    new MutationObserver(() => window.said.push(document.getElementById("status").textContent)).observe(document.getElementById("status"), { childList: true });
  });
  await ben.getByRole("button", { name: "Next question" }).click();
  await has(ada, "#status", "Who knows?");
  const said = (await ada.evaluate(() => window.said)).join(" ");
  expect(said === "3… 2… 1… Who knows?", `a countdown, not ${said}`);
  await shoot(ben, "phone");
  await ben.getByRole("button", { name: "Buzz" }).click();
  await has(ada, "#status", "<i>Ben</i> was first!");
  await shoot(ada, "desktop");
  await ben.close();
  await ada.waitForFunction(() => document.getElementById("players").textContent === "Ada");
}
