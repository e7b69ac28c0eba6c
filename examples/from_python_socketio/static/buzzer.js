// The buzzer's page; it is the same with python-socketio.

import { $, showConnection } from "/shared/page.js";

const socket = io({ autoConnect: false, auth: (send) => send({ name: $("name").value }) });

showConnection(socket);

$("entry").onsubmit = (event) => {
  event.preventDefault();
  $("error").textContent = "";
  socket.connect();
};

socket.on("connect_error", (error) => { if (!socket.active) $("error").textContent = error.message; });
socket.on("connect", () => {
  $("entry").hidden = true;
  $("game").hidden = false;
});

socket.on("players", (names) => { $("players").textContent = names.join(", "); });

socket.on("round", ({ open, first }) => {
  $("buzz").disabled = !open || first !== null;
  $("next").disabled = !open;
  $("status").textContent = first !== null ? `${first} was first!` : open ? "Who knows?" : "Get ready…";
});

socket.on("countdown", (left) => {
  $("buzz").disabled = $("next").disabled = true;
  $("status").textContent = `${left}…`;
});

let forget;
socket.on("cheer", (name) => {
  $("cheers").textContent = `${name} cheers 🎉`;
  clearTimeout(forget);
  forget = setTimeout(() => { $("cheers").textContent = ""; }, 3000);
});

$("buzz").onclick = async () => {
  $("buzz").disabled = true;
  if (await socket.emitWithAck("buzz")) $("status").textContent = "You were first!";
};
$("next").onclick = () => socket.emit("next", null);
$("cheer").onclick = () => socket.emit("cheer", null);
