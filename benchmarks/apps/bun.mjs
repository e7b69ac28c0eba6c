// socket.io on Bun by its own engine, its defaults: bun bun.mjs PORT.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";

const io = new Server();
const engine = new Engine({ path: "/socket.io/" });
const handled = { echo: 0, pub: 0 };

io.bind(engine);
io.on("connection", (socket) => {
  socket.on("echo", (data, ack) => {
    handled.echo++;
    ack(data);
  });
  socket.on("pub", (data) => {
    handled.pub++;
    io.emit("msg", data);
  });
  socket.on("stats", (ack) => ack(handled));
});

Bun.serve({ port: Number(process.argv[2]), hostname: "127.0.0.1", idleTimeout: 30, ...engine.handler() });
