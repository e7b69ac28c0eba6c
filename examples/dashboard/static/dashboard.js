// The dashboard's page: a number and a curve for each figure of a sample.

import { $, make, showConnection } from "/shared/page.js";

const KEPT = 120; // samples in a curve
const FIGURES = [
  { key: "cpu", title: "CPU time of this server", unit: "% of a core", digits: 1, least: 10 },
  { key: "load", title: "Load of the machine", unit: "in the last minute", digits: 2, least: 1 },
  { key: "clients", title: "Clients", unit: "connected", digits: 0, least: 4 },
  { key: "threads", title: "Threads", unit: "of this server", digits: 0, least: 4 },
]; // "least": how high the curve's scale is at least

const socket = io();
let samples = [];

showConnection(socket);

const views = FIGURES.map((figure) => {
  const value = make("span", { className: "number" }, "–");
  const [svg, area, line] = ["svg", "polygon", "polyline"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(area, line);
  $("figures").append(make("section", { className: "card figure" }, make("h2", {}, figure.title),
    make("p", { className: "value" }, value, make("span", { className: "unit" }, figure.unit)), svg));
  return { ...figure, value, area, line };
});

function show() {
  if (!samples.length) return;
  $("time").textContent = new Date(samples.at(-1).time).toLocaleTimeString();
  for (const { key, digits, least, value, area, line } of views) {
    value.textContent = samples.at(-1)[key].toFixed(digits);
    const top = Math.max(least, ...samples.map((sample) => sample[key])) * 1.15;
    const first = KEPT - samples.length; // the newest is at the right edge
    const points = samples.map((sample, index) => `${first + index},${(100 - (sample[key] / top) * 100).toFixed(1)}`).join(" ");
    line.setAttribute("points", points);
    area.setAttribute("points", `${first},100 ${points} ${KEPT - 1},100`);
  }
}

function watch() {
  document.body.classList.toggle("paused", !$("live").checked);
  socket.emit("watch", $("live").checked);
}

socket.on("connect", watch);
$("live").onchange = () => { if (socket.connected) watch(); };

socket.on("samples", (past) => {
  samples = past;
  show();
});

socket.on("sample", (sample) => {
  samples = [...samples, sample].slice(-KEPT);
  show();
});
