"use strict";
// The interactive map of the test images: the script of the report, which runs without a network and draws no text as
// HTML. It reads #points (JSON), and puts the explorer in the place of the still picture.
(() => {
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("points").textContent);
  const { x, y, labels, predicted, probability, classes, colors, places } = data;
  const canvas = element("map"), context = canvas.getContext("2d");
  const PADDING = 16; // pixels between the outermost points and the edge
  const SHAPES = [ // after the circle, in the order of the still picture's markers: ^ s D v P
    null, [0, -1.2, 1.1, 0.8, -1.1, 0.8], [-0.9, -0.9, 0.9, -0.9, 0.9, 0.9, -0.9, 0.9],
    [0, -1.3, 1.3, 0, 0, 1.3, -1.3, 0], [0, 1.2, 1.1, -0.8, -1.1, -0.8],
    [-0.4, -1.2, 0.4, -1.2, 0.4, -0.4, 1.2, -0.4, 1.2, 0.4, 0.4, 0.4, 0.4, 1.2, -0.4, 1.2, -0.4, 0.4, -1.2, 0.4,
      -1.2, -0.4, -0.4, -0.4],
  ];
  // In a scattered order, so that no class covers another for coming later.
  const order = [...x.keys()].sort((a, b) => (a * 2654435761 % 4294967296) - (b * 2654435761 % 4294967296));
  const most = (values) => values.reduce((a, b) => Math.max(a, b), 1);
  const widest = most(x), highest = most(y);
  const isShown = classes.map(() => true);
  const view = { zoom: 1, x: widest / 2, y: highest / 2 }; // of the middle, in the units of the points
  let width = 0, height = 0, selected = -1, hits = null, marksMistakes = false, isQueued = false, drag = null;

  const sheet = new Image();
  if (data.sheet) sheet.src = data.sheet;

  const nameOf = (i) => data.names ? data.names[i] : `test image ${data.indices[i]}`;
  const scale = () => view.zoom * Math.min((width - 2 * PADDING) / widest, (height - 2 * PADDING) / highest);
  const across = (value) => (value - view.x) * scale() + width / 2;
  const down = (value) => (value - view.y) * scale() + height / 2;
  const isVisible = (i) => isShown[labels[i]];
  const toggle = (button, isPressed) => button.setAttribute("aria-pressed", String(isPressed));

  function trace(pen, label, left, top, radius) {
    const shape = SHAPES[Math.floor(label / colors.length) % SHAPES.length];
    pen.beginPath();
    if (!shape) pen.arc(left, top, radius, 0, 7);
    else for (let k = 0; k < shape.length; k += 2) pen.lineTo(left + radius * shape[k], top + radius * shape[k + 1]);
    pen.closePath();
  }

  function draw() {
    isQueued = false;
    const density = window.devicePixelRatio || 1;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    const radius = Math.min(9, Math.max(1.8, Math.min(5, 130 / Math.sqrt(x.length))) * Math.sqrt(view.zoom));
    Object.assign(context, { strokeStyle: "#000", lineWidth: 1.5 });
    const isMarked = (i) => (hits ? hits.has(i) : false) || (marksMistakes && predicted[i] !== labels[i]);
    const dims = hits !== null || marksMistakes;
    for (const marked of dims ? [false, true] : [false]) {
      for (const i of order) {
        if (!isVisible(i) || (dims && isMarked(i) !== marked)) continue;
        context.globalAlpha = marked ? 1 : dims ? 0.15 : 0.75;
        context.fillStyle = colors[labels[i] % colors.length];
        trace(context, labels[i], across(x[i]), down(y[i]), marked ? radius + 1 : radius);
        context.fill();
        if (marked) context.stroke();
      }
    }
    context.globalAlpha = 1;
    if (!dims) drawNames();
    for (const [strokeStyle, lineWidth] of selected < 0 ? [] : [["#fff", 6], ["#000", 2.5]]) {
      Object.assign(context, { strokeStyle, lineWidth });
      trace(context, 0, across(x[selected]), down(y[selected]), radius + 5);
      context.stroke();
    }
  }

  function drawNames() {
    const font = `600 ${width < 500 ? 12 : 14}px system-ui, sans-serif`, outline = { lineJoin: "round", lineWidth: 4 };
    const centred = { textAlign: "center", textBaseline: "middle" };
    Object.assign(context, { font, ...centred, ...outline, strokeStyle: "#fff", fillStyle: "#000" });
    for (const [label, left, top] of places) {
      if (!isShown[label]) continue;
      const half = context.measureText(classes[label]).width / 2 + 4;
      const place = [Math.max(half, Math.min(width - half, across(left))), down(top)];
      context.strokeText(classes[label], ...place);
      context.fillText(classes[label], ...place);
    }
  }

  function redraw() {
    if (!isQueued) requestAnimationFrame(draw);
    isQueued = true;
  }

  function resize() {
    width = canvas.parentElement.clientWidth;
    height = Math.round(Math.min(width * Math.min(1, Math.max(0.6, highest / widest)), 0.85 * window.innerHeight));
    const density = window.devicePixelRatio || 1;
    canvas.width = width * density;
    canvas.height = height * density;
    canvas.style.height = `${height}px`;
    if (selected >= 0) place();
    draw(); // at once, since setting its size has emptied the canvas
  }

  function nearest(left, top, reach) {
    let best = -1, least = reach * reach;
    for (let i = 0; i < x.length; i++) {
      const distance = (across(x[i]) - left) ** 2 + (down(y[i]) - top) ** 2;
      if (distance <= least && isVisible(i)) [best, least] = [i, distance];
    }
    return best;
  }

  function select(i) {
    if (i === selected) return;
    selected = i;
    element("card").hidden = i < 0;
    if (i >= 0) { describe(i); place(); }
    redraw();
  }

  function describe(i) {
    const isRight = labels[i] === predicted[i];
    element("card-name").textContent = nameOf(i);
    element("card-true").textContent = classes[labels[i]];
    element("card-predicted").textContent = `${isRight ? "✓" : "✗"} ${classes[predicted[i]]}`;
    element("card-probability").textContent = probability[i] > 999 ? "> 99.9 %" : `${(probability[i] / 10).toFixed(1)} %`;
    const picture = element("card-picture"), pen = picture.getContext("2d");
    picture.hidden = !sheet.naturalWidth;
    if (picture.hidden) return;
    const side = sheet.naturalWidth / data.columns;
    pen.imageSmoothingEnabled = side >= picture.width;
    pen.drawImage(sheet, i % data.columns * side, Math.floor(i / data.columns) * side, side, side,
      0, 0, picture.width, picture.height);
  }

  function place() { // the card beside its point, inside of the map
    const card = element("card"), left = across(x[selected]), top = down(y[selected]);
    const fits = left + 16 + card.offsetWidth <= width;
    card.style.left = `${Math.max(0, fits ? left + 16 : left - 16 - card.offsetWidth)}px`;
    card.style.top = `${Math.max(0, Math.min(height - card.offsetHeight, top - card.offsetHeight / 2))}px`;
  }

  function zoomTo(zoom) { // about the selected image, if there is one
    view.zoom = Math.min(40, Math.max(1, zoom));
    if (view.zoom === 1) [view.x, view.y] = [widest / 2, highest / 2];
    else if (selected >= 0) [view.x, view.y] = [x[selected], y[selected]];
    canvas.classList.toggle("zoomed", view.zoom > 1);
    if (selected >= 0) place();
    redraw();
  }

  function search() {
    const asked = element("search").value.trim().toLowerCase();
    const isHit = (i) => data.names ? nameOf(i).toLowerCase().includes(asked) : String(data.indices[i]) === asked;
    hits = asked ? new Set(order.filter((i) => isVisible(i) && isHit(i)).sort((a, b) => a - b)) : null;
    element("found").textContent = hits ? `${hits.size.toLocaleString("en")} found` : "";
    redraw();
  }

  function step(horizontal, vertical) { // to the nearest image in that direction, or first to the middle
    if (selected < 0) return select(nearest(width / 2, height / 2, Infinity));
    let best = -1, least = Infinity;
    for (let i = 0; i < x.length; i++) {
      const right = x[i] - x[selected], below = y[i] - y[selected];
      const along = right * horizontal + below * vertical, aside = Math.abs(right * vertical - below * horizontal);
      const cost = along + 2 * aside;
      if (isVisible(i) && along > 0 && cost < least) [best, least] = [i, cost];
    }
    if (best >= 0) select(best);
  }

  function show(buttons, isPressed) {
    for (const button of buttons) {
      toggle(button, isPressed);
      isShown[button.value] = isPressed;
    }
    if (selected >= 0 && !isVisible(selected)) select(-1);
    search();
  }

  function addLegend() {
    const buttons = classes.map((name, label) => {
      const button = document.createElement("button"), swatch = document.createElement("canvas");
      const pen = swatch.getContext("2d");
      swatch.className = "chart";
      swatch.width = swatch.height = 28;
      pen.fillStyle = colors[label % colors.length];
      trace(pen, label, 14, 14, 10);
      pen.fill();
      button.value = label;
      button.append(swatch, name);
      button.addEventListener("click", () => show([button], !isShown[label]));
      toggle(button, true);
      return button;
    });
    element("legend").append(...buttons);
    element("all").addEventListener("click", () => show(buttons, true));
    element("none").addEventListener("click", () => show(buttons, false));
  }

  const KEYS = {
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
    "+": () => zoomTo(view.zoom * 1.5), "-": () => zoomTo(view.zoom / 1.5), 0: () => zoomTo(1), Escape: () => select(-1),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  canvas.addEventListener("pointerdown", (event) => {
    drag = { left: event.offsetX, top: event.offsetY, moved: false };
    if (event.pointerType !== "mouse") select(nearest(event.offsetX, event.offsetY, 24));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag && view.zoom > 1) {
      canvas.setPointerCapture(event.pointerId);
      view.x -= (event.offsetX - drag.left) / scale();
      view.y -= (event.offsetY - drag.top) / scale();
      [drag.left, drag.top] = [event.offsetX, event.offsetY];
      if (selected >= 0) place();
      redraw();
    } else if (event.pointerType === "mouse") select(nearest(event.offsetX, event.offsetY, 12));
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { drag = null; });
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && select(-1));
  for (const [id, key] of [["nearer", "+"], ["farther", "-"], ["whole", "0"]]) {
    element(id).addEventListener("click", KEYS[key]);
  }
  element("mistakes").addEventListener("click", (event) => {
    marksMistakes = !marksMistakes;
    toggle(event.currentTarget, marksMistakes);
    redraw();
  });
  element("search").addEventListener("input", search);
  element("search").addEventListener("keydown", (event) => { // Enter goes from find to find
    if (event.key !== "Enter" || !hits || !hits.size) return;
    const found = [...hits];
    select(found[(found.indexOf(selected) + 1) % found.length]);
  });

  element("still").hidden = true;
  element("explorer").hidden = false;
  addLegend();
  new ResizeObserver(resize).observe(canvas.parentElement);
  resize();
})();
