"""The gallery's page: layout, style and the little script that sorts it. @@NAME@@ is filled in."""

PAGE = r"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@@TITLE@@</title>
<style>
:root { color-scheme: light dark;
  --bg: light-dark(#f5f5f2, #131416); --card: light-dark(#fff, #1c1e21);
  --line: light-dark(#dfdfda, #2e3136); --ink: light-dark(#1b1c1e, #e9e9e6);
  --dim: light-dark(#65686d, #9a9da3); --good: light-dark(#0b7a4b, #4fc98e);
  --bad: light-dark(#b3372f, #ff8a7d); --accent: light-dark(#2b5fb8, #86b3ff); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main { max-width: 1500px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 28px; }
h1 { font-size: 22px; font-weight: 650; margin: 0 0 14px; letter-spacing: -.01em; }
dl { display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 0 0 12px; }
dt { font-size: 12px; color: var(--dim); }
dd { margin: 0; font-size: 19px; font-weight: 600; font-variant-numeric: tabular-nums; }
.dim { color: var(--dim); margin: 0 0 6px; }
details { color: var(--dim); font-size: 13px; margin-bottom: 8px; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.bar { position: sticky; top: 0; z-index: 2; background: var(--bg);
  border-bottom: 1px solid var(--line); padding: 10px 0; margin-bottom: 16px;
  display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; }
.bar label { color: var(--dim); font-size: 13px; white-space: nowrap; }
.bar select { margin-left: 4px; }
select, button { font: inherit; font-size: 14px; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 7px; padding: 5px 10px; cursor: pointer; }
select:focus-visible, button:focus-visible, .panel:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 1px; }
.legend { margin-left: auto; display: flex; align-items: center; gap: 8px; font-size: 12px;
  color: var(--dim); }
.ramp { width: 90px; height: 10px; border-radius: 3px; background: linear-gradient(90deg,
  #000004, #420a68, #932667, #dd513a, #fca50a, #fcffa4); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 14px 14px; margin-bottom: 14px; }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; margin-bottom: 9px; }
.name { font-weight: 600; overflow-wrap: anywhere; }
.tag { font-size: 12px; color: var(--dim); }
.value { margin-left: auto; font-variant-numeric: tabular-nums; }
.value b { font-weight: 650; }
.good { color: var(--good); } .bad { color: var(--bad); }
.row { display: grid; grid-template-columns: repeat(5, 1fr); gap: 8px; }
figure { margin: 0; }
.panel { display: block; width: 100%; padding: 0; border: 0; border-radius: 7px; overflow: hidden;
  background: none; cursor: zoom-in; }
.panel img { display: block; width: 100%; height: auto; }
figcaption { font-size: 12px; color: var(--dim); text-align: center; padding-top: 4px; }
dialog { border: 0; border-radius: 12px; padding: 14px; background: var(--card); color: var(--ink);
  max-width: 96vw; max-height: 96vh; outline: 0; }
dialog::backdrop { background: rgb(0 0 0 / .72); }
dialog img { display: block; width: min(88vw, 78vh); max-height: 80vh; object-fit: contain;
  border-radius: 6px; }
dialog p { margin: 10px 0 0; font-size: 14px; text-align: center; }
@media (max-width: 760px) {
  header, main { padding-left: 14px; padding-right: 14px; }
  .row { grid-template-columns: repeat(2, 1fr); } .value { margin-left: 0; width: 100%; }
  .legend { margin-left: 0; } }
</style>
</head>
<body>
<header>
<h1>@@TITLE@@</h1>
<dl>@@FACTS@@</dl>
<p class="dim"><b>Protocol @@PROTOCOL@@.</b> @@SHOWN@@ Values read composite → model. Click an image to enlarge it; the arrow keys
then flip between the panels.</p>
<details><summary>How these numbers were made</summary><ul>@@NOTES@@</ul></details>
</header>
<main>
<div class="bar">
<label>Sort by <select id="sort"><option value="after">error (fMSE)</option>
<option value="gain">improvement (fMSE)</option><option value="ratio">foreground size</option>
<option value="id">name</option></select></label>
<button id="order" type="button"></button>
<label>Subset <select id="subset"></select></label>
<label>Images <select id="group"></select></label>
<span class="legend">error 0 <span class="ramp"></span> @@RANGE@@ gray levels</span>
</div>
<div id="cards"></div>
</main>
<dialog id="zoom"><img alt=""><p></p></dialog>
<script>
const CARDS = @@CARDS@@;
const $ = id => document.getElementById(id);
const text = (tag, cls, value) => {
  const e = document.createElement(tag); e.className = cls; e.textContent = value; return e; };
const num = (v, d = 1) => v === null ? "–" : v.toLocaleString("en", {
  minimumFractionDigits: d, maximumFractionDigits: d });
CARDS.forEach(c => { c.gain = c.before === null || c.after === null ? null : c.before - c.after; });
CARDS.forEach(c => { c.panels = Object.entries(c.images); });
let open = null;

function show(card, i) {
  open = [card, i];
  const [image, line] = $("zoom").children;
  const [panel, source] = card.panels[i];
  image.src = source;
  image.alt = panel;
  line.textContent = `${card.id} · ${panel} (← →)`;
  if (!$("zoom").open) $("zoom").showModal();
}

function article(card) {
  const box = document.createElement("article"), head = text("div", "head", "");
  head.append(text("span", "name", card.id),
    text("span", "tag", `${card.subset} · foreground ${num(100 * card.ratio)} % · ${card.group}`));
  const value = text("span", "value", `fMSE ${num(card.before)} → `);
  value.append(text("b", "", num(card.after)));
  if (card.gain !== null && card.before > 0) {
    const share = 100 * card.gain / card.before;
    value.append(text("span", card.gain > 0 ? "good" : "bad",
      `  ${share > 0 ? "−" : "+"}${num(Math.abs(share), 0)} %`));
  }
  value.append(text("span", "tag", `   PSNR ${num(card.psnrBefore)} → ${num(card.psnr)} dB`));
  head.append(value);
  const row = text("div", "row", "");
  card.panels.forEach(([panel, source], i) => {
    const figure = document.createElement("figure"), button = text("button", "panel", "");
    const image = document.createElement("img");
    image.src = source; image.alt = `${panel} of ${card.id}`; image.loading = "lazy";
    button.type = "button"; button.append(image);
    button.onclick = () => show(card, i);
    figure.append(button, text("figcaption", "", panel));
    row.append(figure);
  });
  box.append(head, row);
  card.box = box;
}

let down = true;
function draw() {
  const key = $("sort").value, sign = down ? -1 : 1;
  $("order").textContent = key === "id" ? (down ? "Z → A" : "A → Z") : down ? "high → low" : "low → high";
  const kept = CARDS.filter(c => (!$("subset").value || c.subset === $("subset").value)
    && (!$("group").value || c.group === $("group").value));
  kept.sort((a, b) => key === "id" ? sign * a.id.localeCompare(b.id, "en", { numeric: true })
    : (a[key] === null) - (b[key] === null) || sign * (a[key] - b[key]));
  $("cards").replaceChildren(...kept.map(c => c.box));
}

function options(id, key) {
  const values = [...new Set(CARDS.map(c => c[key]))].sort();
  $(id).append(new Option(`all (${CARDS.length})`, ""), ...values.map(v =>
    new Option(`${v} (${CARDS.filter(c => c[key] === v).length})`, v)));
  $(id).onchange = draw;
}

CARDS.forEach(article);
options("subset", "subset");
options("group", "group");
$("sort").onchange = () => { down = $("sort").value !== "id"; draw(); };
$("order").onclick = () => { down = !down; draw(); };
$("zoom").onclick = () => $("zoom").close();
document.addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || !$("zoom").open) return;
  const [card, i] = open, count = card.panels.length;
  event.preventDefault();
  show(card, (i + step + count) % count);
});
draw();
</script>
</body>
</html>
"""
