// Clients behind a load balancer, as browsers are: node balanced.js URL COUNT TRANSPORTS
// Prints a line of JSON when all are connected, and one more for each line that it reads: where each client is now, how
// often each was disconnected or could not connect, and how many answers there were.
"use strict";

const { createInterface } = require("node:readline");
const { io } = require("socket.io-client");

const [url, count, transports] = [process.argv[2], Number(process.argv[3]), JSON.parse(process.argv[4])];
const clients = [];
let told = false;

function tell() {
  console.log(JSON.stringify(clients.map(({ pid, troubles, answers }) => ({ pid, troubles, answers }))));
}

for (let number = 0; number < count; number++) {
  const client = { pid: 0, troubles: [], answers: 0 };
  clients.push(client);
  const options = { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500, transports };
  // In Node.js this makes it keep cookies, as browsers do. The header is for who goes by addresses.
  const extraHeaders = { "X-Forwarded-For": `10.8.0.${number + 1}` };
  const socket = io(url, { ...options, extraHeaders, withCredentials: true });
  socket.on("connect", () => {
    socket.emit("who", (pid) => {
      client.pid = pid;
      if (told || !clients.every((each) => each.pid)) return;
      told = true;
      tell();
    });
  });
  socket.on("disconnect", (reason) => {
    client.pid = 0;
    client.troubles.push(reason);
  });
  socket.on("connect_error", (error) => client.troubles.push(String(error)));
  setInterval(() => {
    if (client.pid) socket.emit("echo", number, () => client.answers++);
  }, 50);
}

createInterface({ input: process.stdin }).on("line", tell);
