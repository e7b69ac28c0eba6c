// The lounge's page. It never says who it is: the server knows by the cookie of the session.

import { $, ask, make, showConnection } from "/shared/page.js";

const KEPT = 200; // messages

const socket = io();

showConnection(socket);

socket.on("online", (people) => {
  $("online").replaceChildren(...people.map(({ name }) => make("li", {}, name)));
  const chosen = $("to").value;
  const others = people.filter(({ name }) => name !== $("me").textContent);
  $("to").replaceChildren(new Option("Everybody", ""), ...others.map(({ id, name }) => new Option(name, id)));
  if (others.some(({ id }) => id === chosen)) $("to").value = chosen;
});

socket.on("said", ({ name, text, to }) => {
  $("none").hidden = true;
  const who = make("div", {}, make("strong", {}, name));
  if (to) who.append(make("span", { className: "private" }, `only to ${to}`));
  $("messages").append(make("li", {}, who, make("p", {}, text)));
  if ($("messages").childElementCount > KEPT) $("messages").firstElementChild.remove();
});

// Logged out, here or in another tab, or not logged in any more: the server shows the page for that.
socket.on("disconnect", () => { if (!socket.active) location.reload(); });
socket.on("connect_error", () => { if (!socket.active) location.reload(); });

$("form").onsubmit = async (event) => {
  event.preventDefault();
  $("error").textContent = "";
  try {
    await ask(socket, "say", $("text").value, $("to").value || null);
    $("text").value = "";
  } catch (error) {
    $("error").textContent = error.message;
  }
};
