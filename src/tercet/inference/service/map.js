// The map of the test images and the place of a new one on it. Drawn on white, as in the report; the style turns it
// dark where wanted.
const RING = 7; // pixels around the point of the new image
const PADDING = 18; // pixels between the outermost points and the edge
const most = (values) => values.reduce((a, b) => Math.max(a, b), 1);

export function drawMap(canvas, data, place) {
  const { x, y, labels, classes, colors, places } = data;
  const widest = most(x), highest = most(y), density = window.devicePixelRatio || 1;
  const width = canvas.parentElement.clientWidth;
  const height = Math.round(Math.min(width * Math.min(1, Math.max(0.6, highest / widest)), 0.65 * window.innerHeight));
  canvas.width = width * density;
  canvas.height = height * density;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(density, 0, 0, density, 0, 0);
  const scale = Math.min((width - 2 * PADDING) / widest, (height - 2 * PADDING) / highest);
  const across = (value) => (value - widest / 2) * scale + width / 2;
  const down = (value) => (value - highest / 2) * scale + height / 2;
  const radius = Math.max(1.8, Math.min(5, 130 / Math.sqrt(x.length)) * Math.min(1, Math.max(0.6, width / 700)));
  const dot = (left, top, size) => { pen.beginPath(); pen.arc(left, top, size, 0, 7); };

  // In a scattered order, so that no class covers another for coming later.
  const order = [...x.keys()].sort((a, b) => (a * 2654435761 % 4294967296) - (b * 2654435761 % 4294967296));
  pen.globalAlpha = 0.6;
  for (const i of order) {
    pen.fillStyle = colors[labels[i] % colors.length];
    dot(across(x[i]), down(y[i]), radius);
    pen.fill();
  }
  pen.globalAlpha = 1;

  const left = across(place.x), top = down(place.y);
  Object.assign(pen, { strokeStyle: "#000", lineWidth: 1 });
  for (const i of place.neighbors) {
    pen.beginPath();
    pen.moveTo(left, top);
    pen.lineTo(across(x[i]), down(y[i]));
    pen.stroke();
    pen.fillStyle = colors[labels[i] % colors.length];
    dot(across(x[i]), down(y[i]), radius + 1);
    pen.fill();
    pen.stroke();
  }

  const outline = { lineJoin: "round", lineWidth: 4, strokeStyle: "#fff", fillStyle: "#000" };
  const font = `600 ${width < 500 ? 12 : 14}px system-ui, sans-serif`;
  Object.assign(pen, { font, textAlign: "center", textBaseline: "middle", ...outline });
  for (const [label, textLeft, textTop] of places) {
    const half = pen.measureText(classes[label]).width / 2 + 4;
    const middle = Math.max(half, Math.min(width - half, across(textLeft)));
    const reach = radius + RING + 10, isUnderRing = Math.abs(middle - left) < half + RING && Math.abs(down(textTop) - top) < reach;
    const beside = top > 2 * reach ? top - reach - 4 : top + reach + 4;
    const position = [middle, isUnderRing ? beside : down(textTop)];
    pen.strokeText(classes[label], ...position);
    pen.fillText(classes[label], ...position);
  }

  for (const [strokeStyle, lineWidth] of [["#fff", 7], ["#000", 3]]) {
    Object.assign(pen, { strokeStyle, lineWidth });
    dot(left, top, radius + RING);
    pen.stroke();
  }
}
