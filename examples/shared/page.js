// What the pages of the examples have in common.

export const $ = (id) => document.getElementById(id);

/** An element with properties, and children that are elements or plain text: text that people typed is never markup. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Tell in the element "connection" whether the server is there, and by which transport. */
export function showConnection(socket) {
  const show = (text, state) => {
    $("connection").textContent = text;
    $("connection").dataset.state = state;
  };
  const online = () => show(`Online · ${socket.io.engine.transport.name}`, "online");
  socket.on("connect", () => {
    online();
    socket.io.engine.once("upgrade", online);
  });
  socket.on("disconnect", () => show(socket.active ? "Offline, trying again…" : "Disconnected", "offline"));
  socket.on("connect_error", (error) => show(socket.active ? "Offline, trying again…" : error.message, "offline"));
}

/** Ask the server and wait for its answer; an Error when it refuses or is silent. */
export async function ask(socket, event, ...args) {
  const answer = await socket.timeout(10_000).emitWithAck(event, ...args);
  if (answer?.error) throw new Error(answer.error);
  return answer;
}
