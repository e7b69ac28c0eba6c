// Where messages are written, and images picked, dropped or pasted.

import { prepareImage } from "./images.js";
import { $ } from "./view.js";

const QUIET = 3_000; // ms after which somebody who stopped pressing keys is no longer typing

/** Wire the form up. `chat` is what it needs: send(content), room(), imageLimit(), typing(room, on). */
export function setUpComposer(chat) {
  const typing = typingReporter(chat);
  $("text").oninput = () => { fit(); typing($("text").value.trim() !== ""); };
  $("text").onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("composer").requestSubmit();
  };
  $("composer").onsubmit = (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (!text) return;
    typing(false);
    chat.send({ text });
    $("text").value = "";
    $("composer-error").textContent = "";
    fit();
    $("text").focus();
  };
  setUpImages(chat);
  fit();
}

/** Tells the room once that somebody begins to type, and once that they have stopped. */
function typingReporter(chat) {
  let timer = null;
  let reported = null; // the room that was told
  return function typing(on) {
    clearTimeout(timer);
    const room = on ? chat.room() : null;
    if (room !== reported) {
      if (reported) chat.typing(reported, false);
      if (room) chat.typing(room, true);
      reported = room;
    }
    if (on) timer = setTimeout(typing, QUIET, false);
  };
}

/** Make the box as high as its text; one that is not on the page yet has no height to measure. */
function fit() {
  $("text").style.height = "";
  if ($("text").scrollHeight) $("text").style.height = `${Math.min($("text").scrollHeight + 2, 160)}px`;
  $("send").disabled = !$("text").value.trim();
}

function setUpImages(chat) {
  async function sendImage(file) {
    $("composer-error").textContent = "";
    try {
      chat.send({ image: file.type, data: await prepareImage(file, chat.imageLimit()) });
    } catch (error) {
      $("composer-error").textContent = error.message;
    }
  }
  const sendImages = (files) => [...files].filter((file) => file.type.startsWith("image/")).forEach(sendImage);

  $("attach").onclick = () => $("file").click();
  $("file").onchange = () => { sendImages($("file").files); $("file").value = ""; };
  document.addEventListener("paste", (event) => { if (!$("chat").hidden) sendImages(event.clipboardData.files); });

  let depth = 0; // "enter" and "leave" come for every element that the pointer crosses
  const drag = (now) => { depth = now; $("chat").classList.toggle("dragging", now > 0); };
  const onFiles = (type, handler) => document.addEventListener(type, (event) => {
    if (!$("chat").hidden && event.dataTransfer.types.includes("Files")) handler(event);
  });
  onFiles("dragenter", () => drag(depth + 1));
  onFiles("dragleave", () => drag(depth - 1));
  onFiles("dragover", (event) => event.preventDefault());
  onFiles("drop", (event) => {
    event.preventDefault();
    drag(0);
    sendImages(event.dataTransfer.files);
  });
}
