// The curves as a drawing: knots at their true positions, to be dragged or moved by keys.

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 250, EDGE = 5;
const px = x => EDGE + SIDE * x, py = y => EDGE + SIDE * (1 - y);
const clamp = v => Math.min(1, Math.max(0, v));

export class Curves {
  // `changed(done)` is called after every change; `done` is false while a knot is being dragged.
  constructor(graph, tabs, text, reach, changed) {
    Object.assign(this, { graph, tabs, text, reach, changed, values: {}, channel: "luminance", knot: 0 });
    graph.addEventListener("pointerdown", event => this.begin(event));
    graph.addEventListener("pointermove", event => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) graph.addEventListener(end, () => this.end());
    graph.addEventListener("keydown", event => this.key(event));
  }

  show(values) {
    this.values = values;
    const names = ["luminance", ...Object.keys(values)];
    if (!names.includes(this.channel)) this.channel = "luminance";
    this.tabs.replaceChildren(...names.map(name => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = name; button.role = "radio"; button.dataset.channel = name;
      button.setAttribute("aria-checked", name === this.channel);
      button.onclick = () => { this.channel = name; this.show(this.values); };
      return button;
    }));
    this.draw();
  }

  // Luminance stands for all three: its curve is their mean, and moving it moves each alike.
  of(name) {
    const curves = Object.values(this.values);
    return name === "luminance"
      ? curves[0].map((_, i) => curves.reduce((sum, curve) => sum + curve[i], 0) / curves.length) : this.values[name];
  }

  draw() {
    const parts = [0.25, 0.5, 0.75].flatMap(at => [
      element("line", { x1: px(at), x2: px(at), y1: EDGE, y2: EDGE + SIDE }),
      element("line", { y1: py(at), y2: py(at), x1: EDGE, x2: EDGE + SIDE })]);
    parts.push(element("line", { x1: px(0), y1: py(0), x2: px(1), y2: py(1) }));
    const names = [...Object.keys(this.values).filter(name => name !== this.channel), this.channel];
    for (const name of names) {
      const curve = this.of(name), n = curve.length;
      const points = [[0, curve[0]], ...curve.map((y, i) => [(i + 0.5) / n, y]), [1, curve[n - 1]]];
      parts.push(element("path", { class: name + (name === this.channel ? " chosen" : ""),
        d: "M" + points.map(([x, y]) => `${px(x).toFixed(2)} ${py(y).toFixed(2)}`).join("L") }));
    }
    const curve = this.of(this.channel), n = curve.length;
    const radius = n > 64 ? 1.3 : 3.6;
    const kind = this.channel + (n > 64 ? " dense" : "");
    const circle = (y, i, more) => element("circle", { cx: px((i + 0.5) / n), cy: py(y), "data-knot": i, ...more });
    curve.forEach((y, i) => parts.push(circle(y, i, { r: radius, class: kind })));
    // Once more above its neighbors.
    parts.push(circle(curve[this.knot], this.knot, { r: 4, class: `${this.channel} chosen` }));
    this.graph.replaceChildren(...parts);
    const at = (this.knot + 0.5) / n;
    this.text.textContent = `Knot ${this.knot + 1} of ${n}: ${Math.round(255 * at)} becomes ${(255 * curve[this.knot]).toFixed(1)}`;
  }

  at(event) {
    const box = this.graph.getBoundingClientRect(), scale = 260 / box.width;
    return [((event.clientX - box.left) * scale - EDGE) / SIDE, 1 - ((event.clientY - box.top) * scale - EDGE) / SIDE];
  }

  begin(event) {
    const [x, y] = this.at(event), curve = this.of(this.channel), n = curve.length;
    this.knot = Math.min(n - 1, Math.max(0, Math.floor(x * n)));
    // The drag is relative, so that a touch beside the knot does not move it.
    this.dragging = { from: y, curves: structuredClone(this.values), moved: false };
    this.graph.setPointerCapture(event.pointerId);
    this.draw();
  }

  drag(event) {
    if (!this.dragging) return;
    this.dragging.moved = true;
    this.move(this.at(event)[1] - this.dragging.from, this.dragging.curves);
    this.changed(false);
  }

  end() {
    if (this.dragging?.moved) this.changed(true);
    this.dragging = null;
  }

  key(event) {
    const n = this.of(this.channel).length, step = event.shiftKey ? 10 : 1;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    this.knot = Math.min(n - 1, Math.max(0, this.knot + way[0] * step));
    if (way[1]) { this.move(way[1] * step / 255, structuredClone(this.values)); this.changed(true); }
    this.draw();
  }

  // Neighbors follow, the less the farther they are; a reach of 0 % of the range moves one knot alone.
  move(by, from) {
    const reach = Number(this.reach.value);
    for (const [name, curve] of Object.entries(from)) {
      if (this.channel !== "luminance" && this.channel !== name) continue;
      this.values[name] = curve.map((y, i) => {
        const distance = Math.abs(i - this.knot) / curve.length;
        const share = distance === 0 ? 1 : reach === 0 ? 0 : Math.exp(-2 * (distance / reach) ** 2);
        return share < 0.01 ? y : clamp(y + by * share);
      });
    }
    this.draw();
  }
}

function element(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
