// Loses its connection twice and prints what it got back: node recovery.js URL MODE
"use strict";

const { io } = require("socket.io-client");

const MODES = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const [url, mode] = process.argv.slice(2);
const socket = io(url, { transports: MODES[mode], reconnectionDelay: 50, reconnectionDelayMax: 100 });
const connections = [];
let events = [];

for (const name of ["missed", "missed too", "not missed"]) {
  socket.on(name, (number, ...rest) => events.push([name, number, Buffer.isBuffer(rest[0])]));
}

socket.on("connect", () => {
  connections.push({ id: socket.id, recovered: socket.recovered, transport: socket.io.engine.transport.name });
});

socket.on("welcome", (count) => {
  connections[connections.length - 1].count = count;
  connections[connections.length - 1].events = events;
  events = [];
  if (connections.length === 3) {
    console.log(JSON.stringify(connections));
    process.exit(0);
  }
  socket.emit("join", "room");
  const lose = () => socket.emit("lose me", 3);
  if (mode === "upgrade" && socket.io.engine.transport.name === "polling") {
    socket.io.engine.once("upgrade", lose);
  } else {
    lose();
  }
});
