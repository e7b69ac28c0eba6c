// Two people log in, talk in public and in private, and are logged out in all tabs.

async function logIn(page, name, password = "secret") {
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

async function say(page, text, to) {
  if (to) await page.getByLabel("To", { exact: true }).selectOption(to);
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
}

export default async function ({ open, shoot, has, online, expect, url }) {
  const ada = await open();
  await shoot(ada, "login");
  await logIn(ada, "ada");
  await online(ada);
  const tab = await open({ context: ada.context() });
  await online(tab);
  const ben = await open({ phone: true });
  await logIn(ben, "Ben");
  await online(ben);
  const cleo = await open();
  await logIn(cleo, "cleo");
  await online(cleo);
  for (const page of [ada, tab, ben, cleo]) for (const name of ["Ada", "Ben", "Cleo"]) await has(page, "#online li", name);

  const attack = "<b>Hello</b> all <script>window.hacked=1</script>";
  await say(ada, attack);
  for (const page of [tab, ben, cleo]) await has(page, "#messages li", attack);
  expect((await ben.locator("#messages b, #messages script").count()) === 0, "markup to stay text");
  await say(ben, "Only between us", "Ada");
  for (const page of [ada, tab, ben]) await has(page, "#messages li", "only to Ada");
  await say(ben, "Good evening", "Everybody");
  await has(cleo, "#messages li", "Good evening");
  expect((await cleo.locator("#messages li", { hasText: "between us" }).count()) === 0, "a private message to stay private");
  await shoot(ada, "desktop");
  await shoot(ben, "phone");

  const answers = await cleo.evaluate(async () => {
    const socket = io({ forceNew: true });
    const all = [await socket.emitWithAck("say", "", null), await socket.emitWithAck("say", "x", "eve"), await socket.emitWithAck("say", { a: 1 }, { b: 2 })];
    socket.disconnect();
    return all;
  });
  expect(answers.every((answer) => answer.error), "junk to be refused");

  await tab.getByRole("button", { name: "Log out" }).click();
  await has(ada, "h2", "Log in");
  await ben.waitForFunction(() => !document.getElementById("online").textContent.includes("Ada"));

  const stranger = await open();
  const refused = await stranger.evaluate(async (where) => {
    const script = Object.assign(document.createElement("script"), { src: `${where}/socket.io/socket.io.min.js` });
    await new Promise((resolve) => { script.onload = resolve; document.head.append(script); });
    const socket = io({ transports: ["websocket"] });
    const error = await new Promise((resolve) => socket.on("connect_error", resolve));
    return error.message;
  }, url);
  expect(refused.includes("log in"), `strangers to be refused, not ${refused}`);
}
