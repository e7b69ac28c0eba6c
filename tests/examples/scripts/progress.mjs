// A job goes on over a reload and in a second window, is cancelled, and another one ends.

const share = (page) => page.locator("#bar").evaluate((bar) => bar.value);

export default async function ({ open, shoot, has, online, expect, url }) {
  const ada = await open();
  await online(ada);
  await ada.getByLabel("Count the primes below").selectOption("3,000,000");
  await ada.getByRole("button", { name: "Start" }).click();
  await has(ada, "#title", "Counting");
  await ada.waitForFunction(() => document.getElementById("bar").value > 0.02);
  await shoot(ada, "desktop");

  const before = await share(ada);
  await ada.reload();
  await has(ada, "#title", "Counting");
  expect((await share(ada)) >= before, "the job to have gone on");
  const { hash } = new URL(ada.url());
  const ben = await open({ phone: true, path: `/${hash}` });
  await has(ben, "#title", "Counting");
  await shoot(ben, "phone");
  await ben.getByRole("button", { name: "Cancel" }).click();
  await has(ada, "#title", "Cancelled");
  await has(ben, "#title", "Cancelled");

  await ada.getByLabel("Count the primes below").selectOption("200,000");
  await ada.getByRole("button", { name: "Start" }).click();
  await has(ada, "#title", "Done");
  await has(ada, "#outcome", "17,984 primes");
  expect((await share(ada)) === 1, "a full bar");
  await has(ben, "#title", "Cancelled");
  await shoot(ada, "done");

  const cleo = await open({ path: "/#no-such-job" });
  await has(cleo, "#error", "not known");
  const refused = await cleo.evaluate(() => Promise.all([10 ** 12, -1, "200000", null, [200000]].map((limit) => io().emitWithAck("start", limit))));
  expect(refused.every((answer) => answer.error), "jobs of other sizes to be refused");
}
