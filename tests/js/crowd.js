// Many clients that live on while their server is restarted: prints a JSON line when all are connected, and one more
// whenever all that were disconnected are back, with the reasons, their notices and the processes that serve them.
"use strict";

const { io } = require("socket.io-client");

const [url, count] = [process.argv[2], Number(process.argv[3])];
const options = { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500 };
let back = new Set();
let reasons = {};
let notices = 0;
let pids = new Set();

function report() {
  console.log(JSON.stringify({ clients: back.size, reasons, notices, pids: [...pids] }));
  back = new Set();
  reasons = {};
  notices = 0;
  pids = new Set();
}

for (let number = 0; number < count; number++) {
  const transports = number % 2 ? ["polling"] : ["polling", "websocket"];
  const socket = io(url, { ...options, transports });
  socket.on("connect", () =>
    socket.emit("pid", (pid) => {
      back.add(number);
      pids.add(pid);
      if (back.size === count) report();
    }),
  );
  socket.on("notice", () => notices++);
  socket.on("disconnect", (reason) => (reasons[reason] = (reasons[reason] || 0) + 1));
}
