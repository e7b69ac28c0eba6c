// A job is done by another process, and followed in two windows.

export default async function ({ open, shoot, has, online, url }) {
  const ada = await open();
  await online(ada);
  await ada.getByLabel("Count the primes below").selectOption("1,000,000");
  await ada.getByRole("button", { name: "Start" }).click();
  await has(ada, "#title", "Counting");
  const { hash } = new URL(ada.url());
  const ben = await open({ phone: true, path: `/${hash}` });
  await has(ben, "#title", "Counting");
  await shoot(ada, "desktop");
  await has(ada, "#title", "Done", 75000); // it computes, perhaps on a busy machine
  await has(ada, "#found", "78,498 primes");
  await has(ben, "#found", "78,498 primes");
}
