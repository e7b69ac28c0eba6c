// The chat: what the person does becomes events for the server, and the server's events become lines on the page.

import { setUpComposer } from "./composer.js";
import { closeDrawers, setUpDrawers } from "./drawers.js";
import { options } from "./options.js";
import { $, addLine, atBottom, initial, paint, rowOf, scrollDown, showLog, showMembers, showRooms, showState, showTyping } from "./view.js";

const LINES = 500; // kept for each room
const ACK = 15_000; // ms to wait for an answer; what is not answered is sent again after the next connection
const TYPING = 12_000; // ms after which "is typing" is not believed any more

const joined = new Map(); // room -> { lines, members, unread, typing: Map(name -> timer) }
const pending = new Map(); // id -> line that the server has not confirmed
let rooms = []; // every room of the server, with its number of people
let current = null;
let me = null;
let limits = { text: 2000, image: 1_000_000 }; // told anew by the server
let unseen = 0; // lines below the visible part of the log

const touch = matchMedia("(pointer: coarse)"); // where the focus would open a keyboard over half the page
const tab = (sessionStorage.tab ??= randomId());
const socket = io({ ...options, autoConnect: false, reconnectionDelay: 400, reconnectionDelayMax: 3000, auth: (send) => send({ name: me, tab }) });

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Ask the server and wait for its answer; an Error when it refuses or is silent. */
async function ask(event, ...args) {
  const answer = await socket.timeout(ACK).emitWithAck(event, ...args);
  if (answer?.error) throw Object.assign(new Error(answer.error), { refused: true });
  return answer;
}

// --- coming in, connection lost and found ---

$("name").value = localStorage.name ?? "";
if (sessionStorage.name) enter(sessionStorage.name); // a reload; the other tabs may be somebody else

function enter(name) {
  me = name.trim();
  if (!me) return;
  $("entry-button").disabled = true;
  $("entry-error").textContent = "";
  socket.connect();
}

$("entry-form").onsubmit = (event) => { event.preventDefault(); enter($("name").value); };

socket.on("connect_error", (error) => {
  if (socket.active) return me && !$("chat").hidden ? banner("Connection lost. Trying again…", "Try now", reconnect) : entryError("The server cannot be reached. Trying again…");
  delete sessionStorage.name; // refused by the server: ask for another name
  banner(null);
  showEntry(true);
  entryError(error.message);
});

function entryError(text) {
  $("entry-button").disabled = false;
  $("entry-error").textContent = text;
}

socket.on("welcome", async (welcome) => {
  ({ name: me, limits, rooms } = welcome);
  localStorage.name = sessionStorage.name = me;
  $("text").maxLength = limits.text;
  $("me").textContent = me;
  $("me-avatar").textContent = initial(me);
  paint($("me-avatar"), me);
  showEntry(false);
  const remembered = JSON.parse(sessionStorage.rooms ?? '["lobby"]');
  const wanted = sessionStorage.current ?? current;
  for (const room of remembered) await join(room, false).catch((error) => { if (error.refused) joined.delete(room); });
  if (!socket.connected) return;
  if (!joined.size) await join("lobby", false);
  show(joined.has(wanted) ? wanted : joined.keys().next().value);
  banner(null);
  for (const line of [...pending.values()]) if (line.state === "sending") deliver(line);
});

socket.on("disconnect", (reason) => {
  if (reason === "io client disconnect") return;
  if (reason === "io server disconnect") banner("You continued in another tab.", "Use this one", () => socket.connect());
  else banner("Connection lost. Trying again…", "Try now", reconnect);
});

function reconnect() {
  socket.disconnect().connect();
}

function showEntry(visible) {
  $("entry").hidden = !visible;
  $("chat").hidden = visible;
  $("entry-button").disabled = false;
  if (!touch.matches) (visible ? $("name") : $("text")).focus();
}

function banner(text, label, action) {
  $("banner").hidden = text === null;
  $("banner-text").textContent = text ?? "";
  $("banner-button").textContent = label ?? "";
  $("banner-button").onclick = action ?? null;
  $("chat").classList.toggle("offline", text !== null);
  if (text !== null) $("transport").textContent = "offline";
}

function showTransport() {
  $("transport").textContent = socket.io.engine.transport.name;
}

socket.on("connect", () => {
  showTransport();
  socket.io.engine.once("upgrade", showTransport);
});

$("sign-out").onclick = () => {
  socket.disconnect();
  for (const key of ["name", "rooms", "current"]) delete sessionStorage[key];
  location.reload();
};

// --- rooms ---

async function join(room, visible = true) {
  const answer = await ask("join", room);
  const state = joined.get(answer.room) ?? { lines: [], unread: 0, typing: new Map() };
  const known = new Set(state.lines.map((line) => line.id));
  state.lines.push(...answer.history.filter((line) => !known.has(line.id)));
  state.members = answer.members;
  joined.set(answer.room, state);
  if (visible) show(answer.room);
}

function show(room) {
  current = room;
  const state = joined.get(room);
  sessionStorage.rooms = JSON.stringify([...joined.keys()]);
  sessionStorage.current = room;
  $("title").textContent = `# ${room}`;
  $("leave").hidden = joined.size < 2;
  showLog(state.lines, me, actions);
  showMembers(state.members, me);
  showTyping([...state.typing.keys()]);
  unseen = 0;
  seen();
  closeDrawers();
}

/** What can be seen of the current room has been read. */
function seen() {
  if (!document.hidden && joined.has(current)) joined.get(current).unread = 0;
  const unread = [...joined.values()].reduce((sum, state) => sum + state.unread, 0);
  document.title = unread ? `(${unread}) Chat` : "Chat";
  $("all-unread").hidden = !unread;
  $("all-unread").textContent = unread;
  showRooms(rooms, joined, current, (room) => (joined.has(room) ? show(room) : enterRoom(room)));
  $("jump").hidden = !unseen;
  $("jump").textContent = `↓ ${unseen} new`;
}

async function enterRoom(room) {
  $("room-error").textContent = "";
  try {
    await join(room);
    $("room-name").value = "";
    if (!touch.matches) $("text").focus();
  } catch (error) {
    $("room-error").textContent = error.refused ? error.message : "The server does not answer.";
  }
}

$("room-form").onsubmit = (event) => { event.preventDefault(); enterRoom($("room-name").value); };

$("leave").onclick = async () => {
  const room = current;
  try {
    await ask("leave", room);
  } catch (error) {
    if (!error.refused) return; // the connection is lost, which the banner tells
  }
  joined.delete(room);
  show(joined.keys().next().value);
};

socket.on("rooms", (list) => { rooms = list; seen(); });

socket.on("presence", ({ room, name, change, members }) => {
  const state = joined.get(room);
  if (!state) return;
  state.members = members;
  setTyping(room, name, false);
  record(room, { name, change });
  if (room === current) showMembers(members, me);
});

// --- messages ---

function record(room, line) {
  const state = joined.get(room);
  state.lines.push(line);
  for (const old of state.lines.splice(0, state.lines.length - LINES)) if (old.url) URL.revokeObjectURL(old.url);
  if (room !== current) return false;
  if (state.lines.length === 1) $("log").replaceChildren();
  if ($("log").childElementCount > LINES) $("log").firstElementChild.remove();
  return addLine(line, me, actions);
}

socket.on("message", (message, received) => {
  received();
  const state = joined.get(message.room);
  if (!state || state.lines.some((line) => line.id === message.id)) return;
  setTyping(message.room, message.name, false);
  const visible = record(message.room, message);
  if (message.room === current && !visible) unseen += 1;
  state.unread += 1;
  seen();
});

socket.on("delivered", ({ room, id, count, all }) => {
  const line = joined.get(room)?.lines.find((each) => each.id === id);
  if (line && all && count) setState(line, "all");
});

function setState(line, state, error) {
  if (line.state === "all" && state === "sent") return; // everybody's answers can overtake the server's own
  Object.assign(line, { state, error });
  const row = rowOf(line.id);
  if (row) showState(row, line, actions);
}

function send(content) {
  const line = { room: current, id: randomId(), name: me, time: Date.now(), state: "sending", ...content };
  pending.set(line.id, line);
  record(current, line);
  deliver(line);
}

/** Have the server confirm a line. While the connection is down it waits for the next one; twice is no harm. */
async function deliver(line) {
  if (!socket.connected) return;
  try {
    await (line.image ? ask("image", line.room, line.id, line.data) : ask("message", line.room, line.id, line.text));
    pending.delete(line.id);
    setState(line, "sent");
  } catch (error) {
    if (error.refused) setState(line, "failed", error.message);
    else if (socket.connected) setState(line, "failed", "The server does not answer.");
  }
}

const actions = {
  retry(line) { setState(line, "sending"); deliver(line); },
  /** The address of an image's bytes: they came with the message, or are fetched when its room's history is shown. */
  async imageUrl(line) {
    line.data ??= await ask("get_image", line.room, line.id).catch(() => null);
    if (line.data) line.url ??= URL.createObjectURL(new Blob([line.data], { type: line.image }));
    return line.url;
  },
};

// --- typing ---

function setTyping(room, name, on) {
  const state = joined.get(room);
  if (!state) return;
  clearTimeout(state.typing.get(name));
  state.typing.delete(name);
  if (on) state.typing.set(name, setTimeout(setTyping, TYPING, room, name, false));
  if (room === current) showTyping([...state.typing.keys()]);
}

socket.on("typing", ({ room, name, on }) => setTyping(room, name, on));

// --- the rest of the page ---

setUpDrawers();
setUpComposer({
  send,
  room: () => current,
  imageLimit: () => limits.image,
  typing: (room, on) => socket.volatile.emit("typing", room, on),
});

document.addEventListener("keydown", (event) => {
  if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key) || !joined.size) return;
  const names = [...joined.keys()];
  show(names.at((names.indexOf(current) + (event.key === "ArrowDown" ? 1 : -1)) % names.length));
  event.preventDefault();
});

$("jump").onclick = () => { scrollDown(); $("text").focus(); };
$("scroller").onscroll = () => { if (unseen && atBottom()) { unseen = 0; seen(); } };
document.addEventListener("visibilitychange", seen);
