// The JavaScript parser's view: what it makes of messages, and how it writes packets.
// node msgpack/codec.js FILE; FILE holds a JSON list of messages in hexadecimal.
"use strict";

const fs = require("fs");
const { Encoder, Decoder } = require("socket.io-msgpack-parser");

/** The value as JSON that keeps what JSON lacks: {"$": kind, value}. */
function tagged(value) {
  if (value === undefined) return { $: "undefined" };
  if (value instanceof Date) return { $: "date", value: value.getTime() };
  if (Buffer.isBuffer(value)) return { $: "bytes", value: value.toString("hex") };
  if (value instanceof ArrayBuffer) return { $: "bytes", value: Buffer.from(value).toString("hex") };
  if (typeof value === "number" && !Number.isFinite(value)) return { $: "number", value: String(value) };
  if (Array.isArray(value)) return value.map(tagged);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, tagged(inner)]));
}

function decode(message) {
  const decoder = new Decoder();
  let packet = null;
  decoder.on("decoded", (decoded) => (packet = decoded));
  try {
    decoder.add(Buffer.from(message, "hex"));
  } catch (error) {
    return { refused: error.message };
  }
  return { packet: tagged(packet) };
}

const data = [
  "event", undefined, null, true, -1, 200, 70000, 5000000000, -5000000000, 1.5, Infinity,
  new Date(1700000000123), new Date(-1000), new Date(8.64e15),
  Buffer.from([1]), Buffer.alloc(300, 7), new Uint8Array([]).buffer, new Uint8Array([9]).buffer,
  new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), new Uint8Array(70000).buffer,
  "€😀", "x".repeat(300), { a: undefined, b: { c: [undefined, {}] }, d: new Date(0), 7: "seven" },
  Array.from({ length: 300 }, (_, i) => i),
];
const packets = [
  { type: 0, nsp: "/", data: { token: new Date(5), nothing: undefined } },
  { type: 0, nsp: "/admin", data: undefined },
  { type: 1, nsp: "/" },
  { type: 2, nsp: "/", data, id: 3, options: { compress: true } },
  { type: 2, nsp: "/é", data: ["event"], id: undefined },
  { type: 3, nsp: "/", data: [], id: 0 },
  { type: 4, nsp: "/", data: { message: "no", data: Buffer.from("why") } },
  { type: 4, nsp: "/", data: "no" },
];

const messages = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const encoder = new Encoder();
console.log(
  JSON.stringify({
    decoded: messages.map(decode),
    encoded: packets.map((packet) => encoder.encode(packet)[0].toString("hex")),
  }),
);
