// Loses its connection again and again, and prints where it came back and what it got: node wandering.js URL MODE WORKERS
"use strict";

const { io } = require("socket.io-client");

const MODES = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const [url, mode, workers] = process.argv.slice(2);
const socket = io(url, { transports: MODES[mode], reconnectionDelay: 20, reconnectionDelayMax: 40 });
const connections = [];
const shouts = [];

socket.on("shout", (pid, number) => shouts.push([pid, number]));

socket.on("connect", () => connections.push({ id: socket.id, recovered: socket.recovered }));

socket.on("welcome", (pid, count) => {
  Object.assign(connections[connections.length - 1], { pid, count });
  const seen = new Set(connections.map((connection) => connection.pid));
  if (connections.length < 60 && (connections.length < 12 || seen.size < Number(workers))) {
    socket.emit("lose me");
    return;
  }
  setTimeout(() => {
    console.log(JSON.stringify({ connections, shouts }));
    process.exit(0);
  }, 500);
});
