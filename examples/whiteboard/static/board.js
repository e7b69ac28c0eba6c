// The whiteboard's page. Places are shares of the board's width and height, so that windows may differ in size.

import { $, make, showConnection } from "/shared/page.js";

const COLOURS = { Black: "#1a1d29", Red: "#d8342b", Orange: "#ef8a17", Green: "#1f9d55", Blue: "#2563eb", Purple: "#8b3fd9", Brown: "#8a5a3b", Eraser: "#ffffff" };
const WIDTHS = { Fine: 0.003, Medium: 0.008, Thick: 0.025 }; // shares of the board's width
const EVERY = 40; // ms between pieces of a line
const POINTS = 32; // in a piece, at most

const socket = io();
const pen = $("canvas").getContext("2d");
const pointers = new Map(); // person's number -> element
let lines = [];
let drawn = null; // points of the line being drawn that have not been sent
let pointed = 0; // when the others were last told where the pointer is

showConnection(socket);

socket.on("lines", (all) => { lines = all; redraw(); });
socket.on("draw", (line) => { lines.push(line); draw(line); });
socket.on("people", (count) => { $("people").textContent = count === 1 ? "Only you are here: open a second window." : `${count} people are here.`; });
socket.on("connect", () => document.body.classList.remove("offline"));
socket.on("disconnect", () => { drawn = null; document.body.classList.add("offline"); });
$("clear").onclick = () => socket.emit("clear");

// --- tools ---

function addPicks(parent, name, values, style) {
  Object.entries(values).forEach(([label, value], index) => {
    const input = make("input", { type: "radio", name, value: index, checked: index === (name === "width" ? 1 : 0), ariaLabel: label });
    const dot = make("span");
    style(dot, value);
    $(parent).append(make("label", { className: "pick", title: label }, input, dot));
  });
}

addPicks("colours", "colour", COLOURS, (dot, value) => { dot.style.color = value; });
addPicks("widths", "width", WIDTHS, (dot, value) => { dot.style.width = dot.style.height = `${4 + value * 700}px`; });

const picked = (name) => Number($("tools").elements[name].value);

// --- drawing ---

function draw({ colour, width, points }) {
  const { width: w, height: h } = $("canvas");
  pen.strokeStyle = Object.values(COLOURS)[colour];
  pen.lineWidth = Math.max(1, Object.values(WIDTHS)[width] * w);
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(points[0] * w, points[1] * h);
  for (let at = 0; at < points.length; at += 2) pen.lineTo(points[at] * w, points[at + 1] * h);
  pen.stroke();
}

function redraw() {
  const { width, height } = $("canvas").getBoundingClientRect();
  Object.assign($("canvas"), { width: width * devicePixelRatio, height: height * devicePixelRatio });
  lines.forEach(draw);
}

new ResizeObserver(redraw).observe($("canvas"));

const share = (value, size) => Math.round(Math.min(1, Math.max(0, value / size)) * 1e4) / 1e4;

function place(event) {
  const box = $("canvas").getBoundingClientRect();
  return [share(event.clientX - box.left, box.width), share(event.clientY - box.top, box.height)];
}

/** Send what has been drawn since the last time; the next piece begins where this one ends. */
function send() {
  while (drawn?.length > 2) {
    const line = { colour: picked("colour"), width: picked("width"), points: drawn.slice(0, 2 * POINTS) };
    socket.emit("draw", line);
    lines.push(line);
    drawn = drawn.slice(line.points.length - 2);
  }
}

setInterval(send, EVERY);

$("canvas").onpointerdown = (event) => {
  if (!socket.connected || event.button !== 0) return;
  $("canvas").setPointerCapture(event.pointerId);
  drawn = [...place(event), ...place(event)]; // a click is a dot
};

$("canvas").onpointermove = (event) => {
  if (drawn) {
    const from = drawn.length - 2;
    for (const part of event.getCoalescedEvents?.() ?? [event]) drawn.push(...place(part));
    draw({ colour: picked("colour"), width: picked("width"), points: drawn.slice(from) });
  }
  if (event.timeStamp - pointed < EVERY) return;
  pointed = event.timeStamp;
  socket.volatile.emit("point", ...place(event));
};

$("canvas").onpointerup = $("canvas").onpointercancel = () => {
  if (!drawn) return;
  draw({ colour: picked("colour"), width: picked("width"), points: drawn });
  send();
  drawn = null;
};

// --- where the others point ---

socket.on("point", (number, x, y) => {
  let dot = pointers.get(number);
  if (!dot) {
    dot = make("div", { className: "pointer" });
    dot.style.setProperty("--hue", (number * 137) % 360);
    pointers.set(number, dot);
    $("pointers").append(dot);
  }
  dot.style.left = `${x * 100}%`;
  dot.style.top = `${y * 100}%`;
});

function forget(number) {
  pointers.get(number)?.remove();
  pointers.delete(number);
}

socket.on("left", forget);
socket.on("disconnect", () => [...pointers.keys()].forEach(forget));
