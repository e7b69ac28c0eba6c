// A Socket.IO server of Node (peer.js) on a Postgres: node postgres_peer.js <url> <options as JSON>.
"use strict";
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/postgres-adapter");
const { Pool } = require("pg");
const { createServer, serve } = require("./peer.js");

// One connection listens, so one is left to publish: with more, Node's adapter keeps no order.
const pool = new Pool({ connectionString: process.argv[2], max: 2 });
pool.on("error", () => {}); // the adapter connects again
const http = createServer();
const adapter = createAdapter(pool, JSON.parse(process.argv[3] || "{}"));
serve(http, new Server(http, { adapter }), { port: () => http.address().port });
