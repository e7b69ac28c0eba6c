// The page of the uploads: one file after the other, each in pieces.

import { $, ask, make, showConnection } from "/shared/page.js";

const AHEAD = 4; // pieces on their way at a time, so that the line is never idle

const socket = io();
const waiting = []; // transfers that have not begun
let busy = false;

showConnection(socket);

const size = (bytes) => (bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

socket.on("files", (files) => {
  $("none").hidden = files.length > 0;
  $("files").replaceChildren(...files.map((file) => make("li", {}, make("span", { className: "name" }, file.name),
    make("span", { className: "quiet number" }, size(file.size)), make("code", { title: "SHA-256" }, file.sha256))));
});

// --- choosing files ---

$("choose").onchange = () => {
  add($("choose").files);
  $("choose").value = "";
};
document.ondragover = (event) => { event.preventDefault(); $("drop").classList.add("over"); };
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  add(event.dataTransfer.files);
};

function add(files) {
  for (const file of files) {
    const bar = make("progress", { max: file.size || 1, value: 0, ariaLabel: `Upload of ${file.name}` });
    const status = make("span", { className: "quiet small number", role: "status" }, "Waiting…");
    const stop = make("button", { type: "button", ariaLabel: `Cancel ${file.name}` }, "Cancel");
    const row = make("li", { className: "card transfer" },
      make("div", { className: "row spread" }, make("span", { className: "name" }, file.name), stop), bar, status);
    const transfer = { file, bar, status, row, stop, cancelled: false };
    stop.onclick = () => { transfer.cancelled = true; };
    $("transfers").prepend(row);
    waiting.push(transfer);
  }
  next();
}

// --- sending them ---

async function next() {
  if (busy || !waiting.length) return;
  busy = true;
  const transfer = waiting.shift();
  try {
    await upload(transfer);
    finish(transfer, "done", `${size(transfer.file.size)}, arrived unharmed`);
  } catch (error) {
    if (socket.connected) socket.emit("abort");
    finish(transfer, "failed", transfer.cancelled ? "Cancelled" : error.message);
  }
  busy = false;
  next();
}

function finish({ row, status, stop }, state, text) {
  row.dataset.state = state;
  status.textContent = text;
  status.classList.add(state === "done" ? "good" : "error");
  stop.remove();
}

async function upload(transfer) {
  const { file, bar, status, row } = transfer;
  const { piece } = await ask(socket, "begin", file.name, file.size);
  const connection = socket.id; // what has been sent over another one is lost
  const unconfirmed = [];
  for (let at = 0; at < file.size; at += piece) {
    if (transfer.cancelled) throw new Error("Cancelled");
    const bytes = await file.slice(at, at + piece).arrayBuffer();
    if (socket.id !== connection) throw new Error("The connection was lost.");
    const sent = ask(socket, "piece", bytes).then(({ received }) => {
      if (row.dataset.state) return; // it has failed, or been cancelled, meanwhile
      bar.value = received;
      status.textContent = `${size(received)} of ${size(file.size)}`;
    });
    sent.catch(() => {}); // it is waited for below
    unconfirmed.push(sent);
    if (unconfirmed.length >= AHEAD) await unconfirmed.shift();
  }
  await Promise.all(unconfirmed);
  const { sha256 } = await ask(socket, "finish");
  if (sha256 !== hex(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()))) throw new Error("It arrived damaged.");
  bar.value = bar.max;
}
