// The application of tests/apps/main.py on the reference implementation: it proves that the scenario is right.
"use strict";

const http = require("http");
const { Server } = require("socket.io");

const NAMESPACES = ["/", "/chat", "/members"];
const site = http.createServer((request, response) => {
  if (request.url.startsWith("/socket.io/")) return; // answered by Socket.IO
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(Object.fromEntries(NAMESPACES.map((name) => [name, io.of(name).sockets.size]))));
});
const options = { pingInterval: 1000, pingTimeout: 5000, ...JSON.parse(process.env.SIO_OPTIONS || "{}") };
const io = new Server(site, options);

const refusal = (message, data) => Object.assign(new Error(message), { data });
const publicRooms = (socket) => [...socket.rooms].filter((room) => room !== socket.id).sort();

io.use((socket, next) => {
  const { token } = socket.handshake.auth;
  if (token === "wrong") return next(refusal("not authorized", { code: 401, hint: "wrong token" }));
  next(token === "banned" ? refusal("banned") : undefined);
});

io.on("connection", (socket) => {
  const { auth, query } = socket.handshake;
  socket.emit("welcome", { id: socket.id, auth, lang: query.lang ?? null });
  socket.on("private", (...args) => args.pop()([socket.id, ...args]));
  socket.once("private once", (ack) => ack("first"));

  socket.on("disconnecting", () => (socket.data.rooms = publicRooms(socket)));
  socket.on("disconnect", (reason) =>
    io.to(`watching ${auth.name}`).emit("left", auth.name, reason, socket.data.rooms, [...socket.rooms]),
  );
  socket.on("kick", (close) => socket.disconnect(close));
  socket.on("drop connection", () => socket.conn.close());

  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("echo event", (...args) => socket.emit("echoed", ...args));
  socket.on("message", (...args) => socket.send(...args));
  socket.on("ack none", (ack) => ack());
  socket.on("ack list", (ack) => ack(["one", "argument"]));
  socket.on("ack tuple", (ack) => ack("a", 2, { three: [3, null] }));
  socket.on("describe", (...args) => args.pop()(args.map(summarize)));
  socket.on("send binary", (ack) => {
    socket.emit("binary", Buffer.from([0, 1]), { deep: [Buffer.alloc(3, 0xff), { er: Buffer.alloc(0) }] }, "text");
    ack(Buffer.from("acked"), { inner: Buffer.from("also") });
  });
  socket.on("ask", (question, ack) => socket.emit("question", question, ack));
  socket.on("ask with callback", (question) =>
    socket.emit("question", question, (...answer) => socket.emit("answered", ...answer)),
  );
  socket.on("ask in vain", (ack) => socket.timeout(200).emit("silence", (error) => ack(error ? "timeout" : "answer")));
  socket.on("ask in vain with callback", () =>
    socket.timeout(200).emit("silence", (error) => socket.emit("gave up", error !== null)),
  );
  socket.on("vote", async (room, question, ack) => ack(await io.to(room).timeout(5000).emitWithAck("vote", question)));
  socket.on("emit reserved", (event, ack) => {
    try {
      socket.emit(event);
    } catch (error) {
      return ack(error.name);
    }
    ack("");
  });

  socket.on("join", (rooms, ack) => (socket.join(rooms), ack(publicRooms(socket))));
  socket.on("leave", (room, ack) => (socket.leave(room), ack(publicRooms(socket))));
  socket.on("publish", (by, chain, ...args) => {
    const ack = args.pop();
    let operator = by === "server" ? io : socket;
    for (const [name, ...parameters] of chain) {
      operator = parameters.length ? operator[name](...parameters) : operator[name];
    }
    operator.emit("published", ...args);
    ack();
  });

  socket.on("count", (number) => (socket.data.counted ??= []).push(number));
  socket.on("counted", (ack) => ack(socket.data.counted ?? []));
  socket.on("burst", (length) => {
    for (let number = 0; number < length; number++) socket.emit("number", number);
  });
  socket.on("tick", async (length, pause) => {
    for (let number = 0; number < length; number++) {
      socket.emit("number", number);
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
    io.to(socket.id).emit("ticked");
  });
});

io.of("/chat").on("connection", (socket) => {
  socket.on("echo", (...args) => args.pop()("chat", socket.nsp.name, ...args));
  socket.on("publish", (...args) => {
    const ack = args.pop();
    io.of("/chat").emit("published", ...args);
    ack();
  });
  socket.on("kick", (close) => socket.disconnect(close));
});

io.of("/members").use((socket, next) => {
  const { name } = socket.handshake.auth;
  if (name === undefined) return next(refusal("members only", { code: 403 }));
  socket.data.name = name[0].toUpperCase() + name.slice(1);
  next();
});
io.of("/members").on("connection", (socket) => socket.on("who am i", (ack) => ack(socket.data.name)));

function summarize(value) {
  if (Buffer.isBuffer(value)) return `binary ${value.length} ${value.subarray(0, 1).toString("hex")}`;
  if (Array.isArray(value)) return value.map(summarize);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, summarize(item)]));
}

site.listen(Number(process.argv[2] || 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${site.address().port}` }));
});
