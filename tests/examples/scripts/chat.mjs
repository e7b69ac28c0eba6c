// A message from one to the other; tests/browser has the chat's own tests.

export default async function ({ open, has }) {
  const [ada, ben] = [await open(), await open({ phone: true })];
  for (const [page, name] of [[ada, "Ada"], [ben, "Ben"]]) {
    await page.getByLabel("Your name").fill(name);
    await page.getByRole("button", { name: "Join the chat" }).click();
    await has(page, "#title", "# lobby");
  }
  await ada.getByLabel("Message", { exact: true }).fill("Good evening");
  await ada.keyboard.press("Enter");
  await has(ben, ".words", "Good evening");
}
