// The raters' page: two pictures, one answer, the next pair.

import { ask } from "./server.js";

const $ = id => document.getElementById(id);
const rater = localStorage.getItem("rater") ?? crypto.getRandomValues(new Uint32Array(3)).reduce((name, n) => name + n.toString(36), "");
localStorage.setItem("rater", rater);
let pair = null, open = false;

function shown(side) {
  return new Promise((done, failed) => {
    const image = $(`${side}-picture`);
    image.onload = done;
    image.onerror = () => failed(new Error("a picture could not be loaded: load the page again"));
    image.src = `/study/pictures/${pair}/${side}?rater=${rater}`;
  });
}

async function next() {
  try {
    const told = await ask("/study/next", { rater });
    pair = told.pair;
    $("question").textContent = pair ? told.question : "That was all. Thank you!";
    $("status").textContent = `${told.done} of ${told.total}`;
    $("progress").max = told.total; $("progress").value = told.done;
    $("choice").hidden = !pair;
    if (pair) await Promise.all([shown("left"), shown("right")]);
    open = !!pair;
    document.body.dataset.pair = pair ?? "";
  } catch (error) { failed(error); }
}

function failed(error) { $("message").hidden = false; $("message").textContent = error.message; }

async function vote(winner) {
  if (!open) return;  // not before both pictures are seen, and once
  open = false;
  document.body.dataset.pair = "";
  $("message").hidden = true;
  try { await ask("/study/vote", { rater, pair, winner }); await next(); } catch (error) { open = true; failed(error); }
}

for (const side of ["left", "right"]) { $(side).onclick = () => vote(side); $(`choose-${side}`).onclick = () => vote(side); }
$("choose-tie").onclick = () => vote("tie");
document.addEventListener("keydown", event => {
  const side = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
  if (side) { event.preventDefault(); vote(side); }
});
next();
