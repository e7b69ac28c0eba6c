// The page of the long job. The job's id is in the address, so a reload, or a second window, follows the same job.

import { $, ask, showConnection } from "/shared/page.js";

const TITLES = { running: "Counting…", done: "Done", cancelled: "Cancelled" };

const socket = io();
let id = location.hash.slice(1);

showConnection(socket);

function show({ state, limit, looked_at: lookedAt, found }) {
  const share = lookedAt / limit;
  $("job").hidden = false;
  $("job").dataset.state = state;
  $("title").textContent = TITLES[state];
  $("percent").textContent = `${Math.floor(share * 100)} %`;
  $("bar").value = share;
  $("found").textContent = found.toLocaleString();
  $("left").textContent = `below ${lookedAt.toLocaleString()}`;
  $("cancel").hidden = state !== "running";
  $("start").disabled = state === "running";
  $("outcome").textContent = state === "running" ? "" : `${TITLES[state]}: ${found.toLocaleString()} primes.`;
}

/** Follow the job in the address, as after a reload or a lost connection. */
async function follow() {
  if (!id) return;
  try {
    await ask(socket, "follow", id);
  } catch (error) {
    $("job").hidden = true;
    $("start").disabled = false;
    $("error").textContent = error.message;
  }
}

socket.on("connect", follow);
socket.on("progress", (job, report) => { if (job === id) show(report); });

$("cancel").onclick = () => socket.emit("cancel", id);

$("form").onsubmit = async (event) => {
  event.preventDefault();
  $("error").textContent = "";
  $("start").disabled = true;
  try {
    ({ id } = await ask(socket, "start", Number($("limit").value)));
    history.replaceState(null, "", `#${id}`);
    await follow();
  } catch (error) {
    $("error").textContent = error.message;
    $("start").disabled = false;
  }
};
