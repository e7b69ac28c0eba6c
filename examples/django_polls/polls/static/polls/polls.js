// The question's page: the results follow the votes. Without JavaScript it is an ordinary page.

import { $, ask, showConnection } from "../shared/page.js";

const socket = io();
const rows = [...document.querySelectorAll("[data-choice]")];
let counted = 0; // votes in the results that are shown

showConnection(socket);

function show(results) {
  const total = results.reduce((sum, { votes }) => sum + votes, 0);
  if (total < counted) return; // two votes at once: votes are only ever added, so this is the older result
  counted = total;
  for (const { id, votes } of results) {
    const row = rows.find(({ dataset }) => Number(dataset.choice) === id);
    if (!row) continue; // a choice that was added since
    row.querySelector(".votes").textContent = votes;
    row.querySelector("progress").value = total ? votes / total : 0;
  }
  $("total").textContent = total === 1 ? "1 vote" : `${total} votes`;
}

show(rows.map(({ dataset }) => ({ id: Number(dataset.choice), votes: Number(dataset.votes) })));
socket.on("results", show);
socket.on("connect", () => ask(socket, "follow", Number($("poll").dataset.question)));
