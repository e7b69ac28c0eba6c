// Node's socket.io, its defaults: node node.js FD, the number of an inherited listening socket.
const http = require("http");
const { Server } = require("socket.io");

const server = http.createServer();
const io = new Server(server);
const handled = { echo: 0, pub: 0 };

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

server.listen({ fd: Number(process.argv[2]) });
