// Everything that touches the DOM for rooms, people and messages. What people typed only ever becomes text nodes.

export const $ = (id) => document.getElementById(id);

/** An element with properties, and children that are elements or plain text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** The colour of a person: a hue from the name, the lightness from the theme. */
export function paint(element, name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  element.style.setProperty("--hue", (hash * 47) % 360);
  return element;
}

export const initial = (name) => [...name][0].toUpperCase();
const avatar = (name) => paint(make("span", { className: "avatar", ariaHidden: "true" }, initial(name)), name);
const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
export const atBottom = () => $("scroller").scrollHeight - $("scroller").scrollTop - $("scroller").clientHeight < 60;
export const scrollDown = () => { $("scroller").scrollTop = $("scroller").scrollHeight; };

export function showRooms(rooms, joined, current, onPick) {
  const entry = ({ room, count }) => {
    const unread = joined.get(room)?.unread ?? 0;
    const button = make("button", { type: "button", title: room, onclick: () => onPick(room) },
      make("span", { className: "hash", ariaHidden: "true" }, "#"), make("span", { className: "room-name" }, room),
      unread ? make("span", { className: "badge", ariaLabel: `${unread} unread` }, String(unread))
        : make("span", { className: "quiet", ariaLabel: `${count} here` }, count ? String(count) : ""));
    if (room === current) button.setAttribute("aria-current", "true");
    return make("li", {}, button);
  };
  const ordered = [...rooms].sort((a, b) => b.count - a.count || a.room.localeCompare(b.room));
  const mine = [...joined.keys()].map((room) => rooms.find((known) => known.room === room) ?? { room, count: 0 });
  const others = ordered.filter(({ room }) => !joined.has(room));
  $("joined").replaceChildren(...mine.map(entry));
  $("others").replaceChildren(...others.map(entry));
  $("others-title").hidden = !others.length;
}

export function showMembers(members, me) {
  const line = (name) => make("li", {}, avatar(name), make("span", {}, name), name === me ? make("small", { className: "quiet" }, "you") : null);
  $("members").replaceChildren(...[...members].sort((a, b) => a.localeCompare(b)).map(line));
  $("count").textContent = members.length === 1 ? "only you" : `${members.length} people`;
}

export function showTyping(names) {
  const [first, second] = names;
  $("typing").textContent = !first ? "" : names.length === 1 ? `${first} is typing…`
    : names.length === 2 ? `${first} and ${second} are typing…` : "Several people are typing…";
}

/** Fill the log with a room's lines, without having them all read out. */
export function showLog(lines, me, actions) {
  $("log").ariaBusy = "true";
  $("log").replaceChildren();
  lines.forEach((line) => addLine(line, me, actions));
  $("log").ariaBusy = "false";
  if (!lines.length) $("log").append(make("li", { className: "event" }, "Nothing has been said here yet."));
  scrollDown();
}

/** Append a line (a message, or that somebody came or went); true when it can be seen at once. */
export function addLine(line, me, actions) {
  const follow = atBottom() || line.name === me;
  const last = $("log").lastElementChild;
  if (line.change) {
    $("log").append(make("li", { className: "event" }, make("span", {}, line.name), ` ${line.change}`));
  } else {
    const grouped = last?.dataset.author === line.name && line.time - last.dataset.time < 300_000;
    $("log").append(bubble(line, line.name === me, grouped, actions));
  }
  if (follow) scrollDown();
  return follow;
}

function bubble(line, own, grouped, actions) {
  const row = paint(make("li", { className: `message${own ? " own" : ""}${grouped ? " grouped" : ""}` }), line.name);
  Object.assign(row.dataset, { id: line.id, author: line.name, time: line.time });
  const body = make("div", { className: "bubble" }, make("strong", { className: "author" }, own ? "You" : line.name),
    line.image ? picture(line, actions) : make("span", { className: "words" }, ...linked(line.text)));
  const meta = make("span", { className: "meta" }, make("time", { dateTime: new Date(line.time).toISOString() }, clock(line.time)));
  if (own) meta.append(make("span", { className: "tick" }));
  body.append(meta);
  row.append(own ? "" : avatar(line.name), body);
  showState(row, line, actions);
  return row;
}

/** Bring the ticks of a message that is shown up to date. */
export function showState(row, line, actions) {
  const tick = row.querySelector(".tick");
  if (!tick) return;
  const [sign, words] = { sending: ["◷", "Sending"], failed: ["!", line.error], all: ["✓✓", "Delivered to everybody here"] }[line.state] ?? ["✓", "Sent"];
  Object.assign(tick, { textContent: sign, title: words, role: "img", ariaLabel: words });
  row.dataset.state = line.state ?? "sent";
  row.querySelector("progress")?.toggleAttribute("hidden", line.state !== "sending");
  row.querySelector(".failure")?.remove();
  if (line.state !== "failed") return;
  const again = make("button", { type: "button", onclick: () => actions.retry(line) }, "Try again");
  row.querySelector(".bubble").append(make("span", { className: "failure", role: "alert" }, `${line.error} `, again));
}

export const rowOf = (id) => $("log").querySelector(`[data-id="${CSS.escape(id)}"]`);

function picture(line, actions) {
  const image = make("img", { alt: `Image from ${line.name}`, onload: () => image.dataset.near && scrollDown() });
  const button = make("button", { type: "button", className: "picture", ariaLabel: `Image from ${line.name}, show it large` }, image);
  const progress = line.state ? make("progress", { ariaLabel: "Sending the image" }) : null;
  button.onclick = () => { $("viewer-image").src = image.src; $("viewer").showModal(); };
  if (atBottom()) image.dataset.near = "yes";
  actions.imageUrl(line).then((url) => {
    if (url) image.src = url;
    else button.replaceWith(make("em", { className: "quiet" }, "This image is no longer kept."));
  });
  return make("span", { className: "frame" }, button, progress);
}

/** Text with its web addresses as links. */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]'])/).map((part, index) =>
    index % 2 ? make("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part) : part);
}
