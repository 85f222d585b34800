// The canvas: two pictures with a line between them, zoom and pan; and the cut-out while it is placed.

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

export class Stage {
  // `look(side, region)` gives an image of a region; `paint(x, y, done)` is told of the brush;
  // `placed()` of a cut-out that was moved.
  constructor(canvas, divider, { look, paint, placed, failed }) {
    Object.assign(this, { canvas, divider, look, paint, placed, failed });
    this.split = 0.5;
    this.view = { scale: 1, x: 0, y: 0 };
    this.images = { left: [], right: [] };
    this.asked = { left: 0, right: 0 };
    this.pointers = new Map();
    new ResizeObserver(() => this.resized()).observe(canvas);
    canvas.addEventListener("pointerdown", event => this.down(event));
    canvas.addEventListener("pointermove", event => this.moved(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => this.up(event));
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", event => this.key(event));
    divider.addEventListener("pointerdown", event => divider.setPointerCapture(event.pointerId));
    divider.addEventListener("pointermove", event => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      this.split = clamp((event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth, 0.02, 0.98);
      this.draw();
    });
  }

  // A picture to place: `background` and `cutout` are previews with the sizes of the pictures.
  place(background, cutout, at, scale) {
    this.placing = { background, cutout, at, scale };
    this.size = [background.width, background.height];
    this.divider.hidden = true;
    this.fit();
  }

  open(width, height) {
    const same = this.size?.[0] === width && this.size?.[1] === height;
    this.placing = null;
    this.size = [width, height];
    this.images = { left: [], right: [] };
    this.divider.hidden = false;
    same ? this.draw() : this.fit();
  }

  fit() { this.setZoom(this.least()); }

  least() { return Math.min(this.canvas.clientWidth / this.size[0], this.canvas.clientHeight / this.size[1]); }

  setZoom(scale) {
    const [w, h] = this.size;
    this.view = { scale, x: (this.canvas.clientWidth - w * scale) / 2, y: (this.canvas.clientHeight - h * scale) / 2 };
    this.changed();
  }

  zoom(by, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (!this.size) return;
    const scale = clamp(this.view.scale * by, Math.min(this.least(), 1), 8), real = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * real, y: y - (y - this.view.y) * real };
    this.changed();
  }

  pan(dx, dy) { this.view.x += dx; this.view.y += dy; this.changed(); }

  changed() {
    const [w, h] = this.size, { scale } = this.view;
    const bound = (at, length, room) => length <= room ? (room - length) / 2 : clamp(at, room - length, 0);
    this.view.x = bound(this.view.x, w * scale, this.canvas.clientWidth);
    this.view.y = bound(this.view.y, h * scale, this.canvas.clientHeight);
    this.draw();
    if (this.placing) return;
    clearTimeout(this.later);
    this.later = setTimeout(() => { this.refresh("left"); this.refresh("right"); }, 80);
  }

  // The visible region, in pixels of the picture, and the width to show it with.
  region() {
    const { scale, x, y } = this.view, [w, h] = this.size;
    const left = clamp(Math.floor(-x / scale), 0, w - 1), top = clamp(Math.floor(-y / scale), 0, h - 1);
    const right = clamp(Math.ceil((this.canvas.clientWidth - x) / scale), left + 1, w);
    const bottom = clamp(Math.ceil((this.canvas.clientHeight - y) / scale), top + 1, h);
    return [left, top, right, bottom, Math.ceil((right - left) * Math.min(1, scale * devicePixelRatio))];
  }

  // Asks for the visible part of a side. One request at a time: the last wish is sent when the one before is answered.
  async refresh(side, forget = false) {
    if (!this.size || this.placing) return;
    if (forget) this.stale = { ...this.stale, [side]: true };
    if (this.busy?.[side]) { this.again = { ...this.again, [side]: true }; return; }
    this.busy = { ...this.busy, [side]: true };
    const region = this.region();
    try {
      const blob = await this.look(side, region);
      if (blob) {
        const image = await createImageBitmap(blob);
        const whole = region[0] === 0 && region[1] === 0 && region[2] === this.size[0] && region[3] === this.size[1];
        const kept = whole || this.stale?.[side] ? [] : this.images[side].slice(0, 1);
        this.images[side] = [...kept, { image, region }];
        this.stale = { ...this.stale, [side]: false };
        this.canvas.dataset[side] = String(++this.asked[side]);
        this.draw();
      }
    } catch (error) { this.failed(error); }
    this.busy[side] = false;
    if (this.again?.[side]) { this.again[side] = false; this.refresh(side); }
  }

  resized() {
    const ratio = devicePixelRatio;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    if (this.size) this.view.scale <= this.least() * 1.001 || !this.everSized ? this.fit() : this.changed();
    this.everSized = true;
  }

  draw() {
    if (!this.size) return;
    const c = this.canvas.getContext("2d"), ratio = devicePixelRatio, { scale, x, y } = this.view;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    c.imageSmoothingEnabled = scale < 3;
    c.imageSmoothingQuality = "high";
    if (this.placing) {
      const { background, cutout, at, scale: size } = this.placing;
      c.drawImage(background.image, x, y, background.width * scale, background.height * scale);
      c.save();
      c.beginPath(); c.rect(x, y, background.width * scale, background.height * scale); c.clip();
      c.drawImage(cutout.image, x + at[0] * scale, y + at[1] * scale, cutout.width * size * scale, cutout.height * size * scale);
      c.restore();
      c.strokeStyle = "#4a86e8"; c.setLineDash([5, 4]);
      c.strokeRect(x + at[0] * scale, y + at[1] * scale, cutout.width * size * scale, cutout.height * size * scale);
      c.setLineDash([]);
      return;
    }
    const line = this.split * this.canvas.clientWidth;
    for (const [side, from, to] of [["left", 0, line], ["right", line, this.canvas.clientWidth]]) {
      c.save();
      c.beginPath(); c.rect(from, 0, to - from, this.canvas.clientHeight); c.clip();
      for (const { image, region: [l, t, r, b] } of this.images[side])
        c.drawImage(image, x + l * scale, y + t * scale, (r - l) * scale, (b - t) * scale);
      c.restore();
    }
    this.divider.style.left = `${line}px`;
  }

  down(event) {
    if (!this.size) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (this.brush && !this.placing) this.touch(event, false);
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY], dx = now[0] - before[0], dy = now[1] - before[1];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const length = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
      this.zoom(length(now) / Math.max(1, length(before)), other[0], other[1]);
    } else if (this.placing) {
      this.placing.at = [this.placing.at[0] + dx / this.view.scale, this.placing.at[1] + dy / this.view.scale];
      this.placed(); this.draw();
    } else if (this.brush) this.touch(event, false);
    else this.pan(dx, dy);
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    const was = this.pointers.delete(event.pointerId);
    if (was && this.brush && !this.placing) this.paint(null, null, true);
  }

  touch(event) {
    const x = (event.offsetX - this.view.x) / this.view.scale / this.size[0];
    const y = (event.offsetY - this.view.y) / this.view.scale / this.size[1];
    if (x >= 0 && x <= 1 && y >= 0 && y <= 1) this.paint(x, y, false);
  }

  key(event) {
    if (!this.size || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 50 : 10, place = this.placing;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const grow = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 }[event.key];
    if (way && place) {
      const by = event.shiftKey ? 10 : 1;
      place.at = [place.at[0] + way[0] * by, place.at[1] + way[1] * by]; this.placed(); this.draw();
    } else if (way) this.pan(-way[0] * step, -way[1] * step);
    else if (grow && place) this.resize(place.scale * grow);
    else if (grow) this.zoom(grow);
    else if (event.key === "0") this.fit();
    else if (event.key === "[" || event.key === "]") {
      this.split = clamp(this.split + (event.key === "]" ? 0.05 : -0.05), 0.02, 0.98); this.draw();
    } else return;
    event.preventDefault();
  }

  // Another size of the cut-out; its middle stays.
  resize(scale) {
    const place = this.placing, by = scale - place.scale;
    place.at = [place.at[0] - place.cutout.width * by / 2, place.at[1] - place.cutout.height * by / 2];
    place.scale = scale;
    this.placed(); this.draw();
  }
}
