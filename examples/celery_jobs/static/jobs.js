// The page of the jobs. The job's id is in the address, so that a second window can follow it as well.

import { $, ask, showConnection } from "/shared/page.js";

const socket = io();
let id = location.hash.slice(1);

showConnection(socket);

function show(title, share, found) {
  $("job").hidden = false;
  $("title").textContent = title;
  $("bar").value = share;
  $("found").textContent = found === undefined ? "" : `${found.toLocaleString()} primes`;
}

socket.on("connect", () => { if (id) socket.emit("follow", id); });
socket.on("progress", (job, lookedAt, limit, found) => { if (job === id) show("Counting…", lookedAt / limit, found); });
socket.on("done", (job, limit, found) => { if (job === id) show("Done", 1, found); });

$("form").onsubmit = async (event) => {
  event.preventDefault();
  $("error").textContent = "";
  try {
    ({ id } = await ask(socket, "start", Number($("limit").value)));
    history.replaceState(null, "", `#${id}`);
    show("Waiting for a worker…", 0);
  } catch (error) {
    $("error").textContent = error.message;
  }
};
