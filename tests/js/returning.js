// Many clients that come back, each at any host, whenever their connection is lost: node returning.js <count> <URLs as
// JSON>. Says so when all are connected. Of each line of stdin, {"hosts": URLs} tells where hosts are now,
// {"last": event} asks how many clients have had that one, and {} asks for what all have had: for each client the
// numbers of its events in `events`, and how many returns there were, how many of them as somebody new.
"use strict";

const { io } = require("socket.io-client");
const readline = require("readline");

const count = Number(process.argv[2]);
let hosts = JSON.parse(process.argv[3]);
const pick = () => hosts[Math.floor(Math.random() * hosts.length)];
const say = (value) => console.log(JSON.stringify(value));

const events = []; // all, as "host number"
const numbers = new Map(); // where each is
const clients = [];
let connected = 0;
let returns = 0;
let anew = 0;

function numberOf(event) {
  if (!numbers.has(event)) numbers.set(event, events.push(event) - 1);
  return numbers.get(event);
}

for (let number = 0; number < count; number++) {
  const got = [];
  clients.push(got);
  const socket = io(hosts[number % hosts.length], {
    auth: (give) => {
      socket.receiveBuffer = []; // of a connection that never came about: it is all sent again
      give({});
    },
    transports: ["websocket"],
    reconnectionDelay: 100,
    reconnectionDelayMax: 400,
    timeout: 20_000,
    forceNew: true,
  });
  let before = false;
  socket.io.on("reconnect_attempt", () => (socket.io.uri = pick()));
  socket.on("connect", () => {
    if (before) {
      returns++;
      if (!socket.recovered) anew++;
    } else if (++connected === count) {
      say("connected");
    }
    before = true;
  });
  socket.on("e", (name, value) => got.push(numberOf(`${name} ${value}`)));
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    if (order.hosts) {
      hosts = order.hosts;
    } else if (order.last) {
      const last = numbers.get(order.last);
      say(clients.filter((got) => got.lastIndexOf(last) >= 0).length);
    } else {
      say({ events, clients, returns, anew });
    }
  })
  .on("close", () => process.exit());
