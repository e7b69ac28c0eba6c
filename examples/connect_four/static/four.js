// The page of the game. The code is in the address, so the link brings a friend to the same table.

import { $, ask, make, showConnection } from "/shared/page.js";

const ROWS = 6;
const NAMES = { red: "Red", yellow: "Yellow" };

const socket = io();
let me = null; // my colour, null when I watch
let before = []; // the board as it was shown last

showConnection(socket);

const columns = Array.from({ length: 7 }, (_, column) => {
  const cells = Array.from({ length: ROWS }, () => make("span", { className: "cell" }));
  const button = make("button", { type: "button", className: "column", onclick: () => socket.emit("drop", column) }, ...cells.toReversed());
  $("board").append(button);
  return { button, cells }; // cells from the bottom up
});

// --- coming and going ---

async function enter(code) {
  $("error").textContent = "";
  try {
    const answer = await ask(socket, "enter", code);
    history.replaceState(null, "", `#${answer.code}`);
    $("name").textContent = answer.code;
    show("table");
  } catch (error) {
    $("error").textContent = error.message;
    show("entry");
  }
}

function show(which) {
  for (const id of ["entry", "table"]) $(id).hidden = id !== which;
}

socket.on("connect", () => { if (location.hash) enter(location.hash.slice(1)); });
socket.on("disconnect", () => columns.forEach(({ button }) => { button.disabled = true; }));
window.onhashchange = () => enter(location.hash.slice(1));
$("new").onclick = () => enter(null);
$("entry").onsubmit = (event) => {
  event.preventDefault();
  enter($("code").value);
};
$("leave").onclick = () => {
  socket.emit("leave");
  history.replaceState(null, "", location.pathname);
  show("entry");
};
$("copy").onclick = async () => {
  await navigator.clipboard.writeText(location.href);
  $("copy").textContent = "Copied";
};

// --- the game ---

socket.on("you", (colour) => { me = colour; });
socket.on("table", (table) => {
  showBoard(table);
  showStatus(table);
  const free = Object.keys(NAMES).find((colour) => !table.taken[colour]);
  $("sit").hidden = me !== null || !free;
  $("sit").onclick = () => socket.emit("sit", free);
  $("again").hidden = me === null || table.turn !== null;
  $("watching").textContent = table.watching ? ` · ${table.watching} watching` : "";
});

$("again").onclick = () => socket.emit("again");

function showBoard(table) {
  columns.forEach(({ button, cells }, column) => {
    const discs = table.columns[column];
    cells.forEach((cell, row) => {
      const fresh = row < discs.length && row >= (before[column]?.length ?? ROWS);
      const won = table.line.some(([r, c]) => r === row && c === column);
      cell.className = `cell ${discs[row] ?? ""} ${fresh ? "fresh" : ""} ${won ? "won" : ""}`;
    });
    button.disabled = !myTurn(table) || discs.length === ROWS;
    button.ariaLabel = `Column ${column + 1}: ${discs.join(", ") || "empty"}`;
  });
  before = table.columns;
}

const complete = (table) => table.taken.red && table.taken.yellow;
const myTurn = (table) => me !== null && table.turn === me && complete(table);

function showStatus(table) {
  $("status").dataset.colour = table.winner ?? table.turn ?? "";
  $("status").textContent = table.winner ? (table.winner === me ? "You have won!" : `${NAMES[table.winner]} has won.`)
    : table.turn === null ? "A draw: the board is full."
      : !complete(table) ? (me ? "Waiting for somebody to play with: send them the link." : "A player has left.")
        : myTurn(table) ? `Your turn: you are ${NAMES[me]}.` : `It is ${NAMES[table.turn]}'s turn.`;
}
