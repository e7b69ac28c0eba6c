// Samples arrive, a second viewer has the past ones, and a paused page gets no more.

const points = async (page) => ((await page.locator("polyline").first().getAttribute("points")) ?? "").split(" ").length;

async function waitForPoints(page, wanted) {
  await page.waitForFunction((count) => (document.querySelector("polyline").getAttribute("points") ?? "").split(" ").length >= count, wanted);
}

export default async function ({ open, shoot, has, online, expect }) {
  const ada = await open();
  await online(ada);
  await waitForPoints(ada, 4);
  const ben = await open({ phone: true });
  await online(ben);
  await waitForPoints(ben, 5);
  await has(ada, ".figure:nth-child(3) .number", "2");
  expect((await ada.locator("#time").textContent()) !== "not yet", "a time");

  await ben.getByLabel("Live").uncheck();
  await has(ben, ".paused .figure", "Clients");
  const seen = await points(ben);
  await waitForPoints(ada, (await points(ada)) + 5);
  expect((await points(ben)) <= seen + 1, "nothing new on a paused page");
  await ben.getByLabel("Live").check();
  await waitForPoints(ben, seen + 5);

  await waitForPoints(ada, 25);
  await shoot(ada, "desktop");
  await shoot(ben, "phone");
}
