// Node's socket.io with its Redis adapter, the same: node bus_node.js FD.
const http = require("http");
const net = require("net");
const { Server } = require("socket.io");
const { createClient } = require("redis");
const { createAdapter } = require("@socket.io/redis-adapter");

async function main() {
  const pub = createClient({ url: process.env.REDIS_URL });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const server = http.createServer();
  const io = new Server(server, { adapter: createAdapter(pub, sub, { key: process.env.REDIS_KEY }) });
  let number = 0;

  io.on("connection", (client) => {
    client.join("room");
    client.on("pace", (ack) => {
      const pace = net.createServer((sock) => {
        sock.on("data", (counts) => {
          for (const count of counts) {
            for (let left = count; left > 0; left--) {
              number++;
              io.to("room").emit("msg", String(number).padStart(8, "0").padEnd(100, "."));
            }
          }
        });
      });
      pace.listen(0, "127.0.0.1", () => ack(pace.address().port));
    });
  });
  server.listen({ fd: Number(process.argv[2]) });
}

main();
