// The studio's page: pictures, model, look, saving. The server does all work on pixels.

import { ask, get, post, save, upload } from "./server.js";
import { Curves } from "./curves.js";
import { Stage } from "./stage.js";

const $ = id => document.getElementById(id);
const ROLES = ["composite", "mask", "background"];
const pictures = {};          // role -> what the server said of it
let about, scene, editable;   // of the server, of the opened scene, of the prediction
let look = null;              // what is applied: options, strength, curves, strokes
let history = [], place = 0;  // looks, and which of them is shown
let busy = 0;

const stage = new Stage($("canvas"), $("divider"), { look: picture, paint, placed, failed });
const curves = new Curves($("graph"), $("channels"), $("knot"), $("reach"), done => {
  look.curves = { ...look.curves };
  for (const [name, values] of Object.entries(curves.values))
    if (values.some((v, i) => v !== editable.curves[name][i])) look.curves[name] = [...values];
    else delete look.curves[name];
  shown(done);
});

const model = name => about.models.find(m => m.name === name);

function say(text) { $("status").textContent = text; }

function failed(error) {
  $("message").hidden = false;
  $("message").textContent = error.message;
  say("That did not work.");
}

function note(notes) {
  $("notes").hidden = !notes?.length;
  $("notes").replaceChildren(...(notes ?? []).map(text => Object.assign(document.createElement("li"), { textContent: text })));
}

// Runs `work`, showing what is done and what went wrong.
async function doing(text, work) {
  $("message").hidden = true;
  busy++; say(text);
  try { await work(); } catch (error) { failed(error); } finally { busy--; ready(); }
}

function ready() {
  const { composite, mask, background } = pictures;
  $("harmonize").disabled = busy > 0 || !composite || !(mask || (composite.alpha && background));
  if (!$("message").hidden || busy) return;
  if (!composite) say("Load a picture to begin.");
  else if (!mask && !composite.alpha) say("Add the mask of the object.");
  else if (!mask && !background) say("Add a mask, or the background that the cut-out goes on.");
  else if (stage.placing) say("Place the cut-out, then harmonize.");
  else if (!look) say("Ready to harmonize.");
}

// ---- pictures

async function load(role, file) {
  if (!file) return;
  await doing(`Loading ${file.name} …`, async () => {
    const found = await upload(file);
    pictures[role] = found;
    $(`name-${role}`).textContent = `${found.file}, ${found.width} × ${found.height}, ${found.bits} bits`;
    note(found.notes);
    closed();
    await arrange();
  });
}

// Shows what is there before the network has run: the pictures, or the cut-out to be placed.
async function arrange() {
  const { composite, mask, background } = pictures;
  const placing = composite?.alpha && !mask && background;
  $("placing").hidden = !placing;
  $("drop").hidden = !!(composite || background);
  if (!placing) {
    stage.placing = null;
    if (composite) await showFirst(composite);
    return;
  }
  const [under, over] = await Promise.all([preview(background), preview(composite)]);
  const scale = Math.min(1, 0.6 * background.width / composite.width, 0.6 * background.height / composite.height);
  const rounded = composite.width === background.width && composite.height === background.height ? 1 : scale;
  const at = [(background.width - composite.width * rounded) / 2, (background.height - composite.height * rounded) / 2];
  stage.place({ ...background, image: under }, { ...composite, image: over }, at, rounded);
  placed();
}

async function preview(found) {
  return createImageBitmap(await (await fetch(`/studio/pictures/${found.picture}`)).blob());
}

async function showFirst(composite) {
  const image = await preview(composite);
  stage.open(composite.width, composite.height);
  stage.images.left = stage.images.right = [{ image, region: [0, 0, composite.width, composite.height] }];
  $("divider").hidden = true;
  $("zoom").hidden = false;
  stage.draw();
}

function placed() {
  const { at, scale } = stage.placing;
  $("place-x").value = Math.round(at[0]); $("place-y").value = Math.round(at[1]);
  $("place-scale").value = Math.log2(scale);
  $("place-scale").dataset.factor = scale;
  $("place-scale-out").textContent = `${Math.round(100 * scale)} %`;
}

function closed() {
  scene = look = editable = null; history = []; place = 0;
  $("look").hidden = $("save").hidden = true;
  $("tag-left").textContent = $("tag-right").textContent = "";
}

// ---- the network

async function harmonize() {
  await doing("Opening the pictures …", async () => {
    if (!scene) {
      const said = {};
      for (const role of ROLES) said[role] = pictures[role]?.picture ?? null;
      if (stage.placing) Object.assign(said, { at: stage.placing.at.map(Math.round), scale: stage.placing.scale });
      const opened = await ask("/studio/scenes", said);
      note([...(pictures.composite.notes ?? []), ...opened.notes]);
      $("placing").hidden = true;
      scene = opened;
      stage.open(scene.width, scene.height);
    }
    await predict();
  });
}

async function predict() {
  const chosen = model($("model").value);
  const options = Object.fromEntries(chosen.controls.map(c => [c.name, c.default]));
  const begin = { model: chosen.name, strength: chosen.strength, options, curves: {}, strokes: [] };
  say(`${chosen.name} looks at the picture …`);
  const made = await ask("/studio/looks", { scene: scene.scene, ...begin });
  editable = made.editable;
  look = begin; history = [structuredClone(look)]; place = 0;
  $("look").hidden = $("save").hidden = false;
  $("zoom").hidden = false;
  controls(chosen);
  files(chosen);
  compared(chosen);
  filled();
  await Promise.all([stage.refresh("left", true), stage.refresh("right", true)]);
  say("Done. Drag the line to compare.");
}

// An image of a region of a side, as a blob; null where there is nothing to show.
async function picture(side, region) {
  if (!scene) return null;
  const said = { scene: scene.scene, region };
  const other = $("compare").value;
  if (side === "right" && look) Object.assign(said, look);
  if (side === "left" && other) Object.assign(said, { model: other, strength: model(other).strength });
  const response = await post("/studio/view", said);
  const timing = /dur=([\d.]+)/.exec(response.headers.get("Server-Timing"))?.[1];
  if (side === "right") $("canvas").dataset.milliseconds = timing;
  return response.blob();
}

// ---- the look

function controls(chosen) {
  const fitting = chosen.controls.filter(control => !control.of_map || editable?.brush);
  $("controls").replaceChildren(...fitting.map(control => {
    const label = document.createElement("label"), out = document.createElement("output");
    let input;
    if (control.kind === "choice") {
      input = document.createElement("select");
      input.append(...control.choices.map(([value, text]) => new Option(text, value)));
      label.append(control.label, " ", input);
    } else if (control.kind === "flag") {
      input = Object.assign(document.createElement("input"), { type: "checkbox" });
      label.className = "flag"; label.append(input, control.label);
    } else {
      input = Object.assign(document.createElement("input"), {
        type: "range", min: control.low, max: control.high, step: control.step });
      label.append(control.label, " ", out, input);
    }
    input.id = `control-${control.name}`;
    input.oninput = () => {
      look.options[control.name] = control.kind === "flag" ? input.checked
        : control.kind === "number" ? Number(input.value) : input.value;
      shown(control.kind !== "number");
    };
    input.onchange = () => shown(true);
    label.show = () => {
      const value = look.options[control.name];
      if (control.kind === "flag") input.checked = value; else input.value = value;
      out.textContent = value;
    };
    return label;
  }));
}

// Writes the look into its controls.
function filled() {
  $("strength").value = look.strength;
  $("strength-out").textContent = `${Math.round(100 * look.strength)} %`;
  for (const label of $("controls").children) label.show();
  $("curves").hidden = !editable;
  $("brush-box").hidden = !editable?.brush;
  stage.brush = !!editable?.brush && $("brush").checked;
  if (editable) curves.show(structuredClone({ ...editable.curves, ...look.curves }));
  $("undo").disabled = place === 0;
  $("redo").disabled = place === history.length - 1;
}

// After a change: a new picture, and where the change is complete, a step that can be undone.
function shown(done) {
  if (done && JSON.stringify(look) !== JSON.stringify(history[place])) {
    history = [...history.slice(0, place + 1), structuredClone(look)];
    place++;
  }
  $("strength-out").textContent = `${Math.round(100 * look.strength)} %`;
  for (const label of $("controls").children) label.show();
  $("undo").disabled = place === 0;
  $("redo").disabled = place === history.length - 1;
  if (!$("message").hidden) { $("message").hidden = true; say("Drag the line to compare."); }
  stage.refresh("right", true);
}

function step(by) {
  if (!look || !history[place + by]) return;
  place += by;
  look = structuredClone(history[place]);
  filled();
  stage.refresh("right", true);
}

function paint(x, y, done) {
  if (!look) return;
  if (done) { shown(true); return; }
  const radius = Number($("brush-size").value), last = look.strokes.at(-1);
  if (last && stage.painting && Math.hypot(x - last[0], y - last[1]) < radius / 3) return;
  stage.painting = true;
  look.strokes = [...look.strokes, [x, y, radius, Number($("brush-amount").value)]];
  shown(false);
}

function compared(chosen) {
  const options = about.models.filter(m => m.name !== chosen.name).map(m => new Option(m.name, m.name));
  $("compare").replaceChildren(new Option("the composite", ""), ...options);
  tags();
}

function tags() {
  $("tag-left").textContent = $("compare").value || "before";
  $("tag-right").textContent = look?.model ?? "";
}

// ---- saving

function files(chosen) {
  const extra = Object.entries(chosen.files).map(([file, text]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.dataset.file = file;
    button.onclick = () => doing(`Saving ${file} …`, async () => {
      await save("/studio/file", { scene: scene.scene, ...look, file }); say(`${file} saved.`);
    });
    return button;
  });
  $("saves").replaceChildren($("save-picture"), ...extra);
}

function savePicture() {
  doing("Making the picture at full size …", async () => {
    const depth = $("depth").value ? Number($("depth").value) : null;
    await save("/studio/result", { scene: scene.scene, ...look, format: $("format").value, depth });
    say("Saved.");
  });
}

// ---- the page

for (const role of ROLES) $(`file-${role}`).onchange = event => load(role, event.target.files[0]);
$("harmonize").onclick = harmonize;
$("save-picture").onclick = savePicture;
$("undo").onclick = () => step(-1);
$("redo").onclick = () => step(1);
$("reset").onclick = () => { look = structuredClone(history[0]); filled(); shown(true); };
$("strength").oninput = event => { look.strength = Number(event.target.value); shown(false); };
$("strength").onchange = () => shown(true);
$("compare").onchange = () => { tags(); stage.refresh("left", true); };
$("brush").onchange = () => { stage.brush = $("brush").checked; };
$("model").onchange = () => {
  described();
  if (scene) doing("Changing the model …", predict);
};
for (const id of ["reach", "brush-amount"]) {
  const tell = () => { $(`${id}-out`).textContent = `${Math.round(100 * $(id).value)} %`; };
  $(id).oninput = tell; tell();
}
$("place-x").onchange = $("place-y").onchange = () => {
  stage.placing.at = [Number($("place-x").value), Number($("place-y").value)]; stage.draw();
};
$("place-scale").oninput = event => stage.resize(2 ** Number(event.target.value));
$("zoom-in").onclick = () => stage.zoom(1.5);
$("zoom-out").onclick = () => stage.zoom(1 / 1.5);
$("zoom-fit").onclick = () => stage.fit();
$("zoom-full").onclick = () => stage.setZoom(1 / devicePixelRatio);
document.addEventListener("pointerup", () => { stage.painting = false; });
document.addEventListener("keydown", event => {
  if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(event.key.toLowerCase())) return;
  event.preventDefault();
  step(event.key.toLowerCase() === "y" || event.shiftKey ? 1 : -1);
});
$("stage").addEventListener("dragover", event => event.preventDefault());
$("stage").addEventListener("drop", event => {
  event.preventDefault();
  // The first picture without a role takes the next free one; "mask" and "background" in names decide.
  for (const file of event.dataTransfer.files) {
    const named = /mask/i.test(file.name) ? "mask" : /(background|_bg|plate|painting)/i.test(file.name) ? "background" : null;
    load(named ?? ROLES.find(role => !pictures[role]) ?? "composite", file);
  }
});

function described() {
  const chosen = model($("model").value);
  $("about-model").textContent = `${chosen.model}; license of the weights: ${chosen.license}` +
    (chosen.needs_background ? "; reads the background" : "");
}

about = await get("/studio/about");
$("model").replaceChildren(...about.models.map(m => new Option(m.name, m.name)));
$("format").replaceChildren(...about.formats.map(f => new Option(f, f)));
$("limits").textContent = `Up to ${about.limits.mib} MiB and ${about.limits.megapixels} megapixels. Pictures stay on this machine.`;
described();
ready();
document.body.dataset.ready = "yes";
