// People vote by the form, once each; others see the results at once.

const votes = (page, number) => page.locator(".votes").nth(number - 1);

export default async function ({ open, shoot, has, online, expect }) {
  const ada = await open();
  await has(ada, ".questions a", "lunch");
  await shoot(ada, "index");
  const ben = await open({ phone: true, path: "/1/" });
  const cleo = await open({ path: "/2/" });
  await ada.getByRole("link", { name: "lunch" }).click();
  for (const page of [ada, ben, cleo]) await online(page);

  await ada.getByRole("button", { name: "Vote for The noodle bar" }).click();
  await has(ada, ".mine", "your vote");
  await has(ben, "#total", "1 vote");
  await ben.getByRole("button", { name: "Vote for The bakery" }).click();
  await has(ben, ".mine", "bakery");
  await has(ada, "#total", "2 votes");
  expect((await votes(ada, 2).textContent()) === "1", "the other vote");
  expect((await ada.getByRole("button").count()) === 0, "nothing to vote with any more");
  await has(cleo, "#total", "0 votes");
  await online(ada);
  await shoot(ada, "desktop");
  await shoot(ben, "phone");

  const refused = await cleo.evaluate(async () => {
    const socket = io({ forceNew: true });
    const answers = [await socket.emitWithAck("follow", 99), await socket.emitWithAck("follow", "1"), await socket.emitWithAck("follow", { a: 1 }), await socket.emitWithAck("follow", 2 ** 62), await socket.emitWithAck("follow", -1)];
    socket.disconnect();
    const cookie = document.querySelector("[name=csrfmiddlewaretoken]").value;
    const post = (choice) => fetch("/2/vote/", { method: "POST", body: new URLSearchParams({ csrfmiddlewaretoken: cookie, choice }) });
    for (const choice of ["1", "x", "", "-1", "9".repeat(40)]) await post(choice); // 1 is a choice of the other question
    return answers.every((answer) => answer.error);
  });
  expect(refused, "junk to be refused");
  await has(cleo, "#total", "0 votes");
  await has(ada, "#total", "2 votes");
}
