// A client that lives on while its server is restarted: prints a JSON line for each connection and disconnection.
"use strict";

const { io } = require("socket.io-client");

const print = (value) => console.log(JSON.stringify(value));
const socket = io(process.argv[2], { reconnectionDelay: 100, reconnectionDelayMax: 300 });
socket.on("connect", () => socket.emit("echo", 1, (...echo) => print({ event: "connect", echo })));
socket.on("disconnect", (reason) => print({ event: "disconnect", reason }));
