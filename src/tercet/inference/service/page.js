// The service's page: takes an image, asks for everything about it at once and shows the answer. No text is put in as
// HTML, whatever a class or file is called.
import { drawMap } from "/map.js";

const element = (id) => document.getElementById(id);
const SHOWN_CLASSES = 5;
const SENT_SIDE = 2048; // pixels of the longer side of a photograph that is made smaller: more than any model looks at
const COARSE_BELOW = 64; // pixels a side: smaller images are shown enlarged, each pixel a square
const sheet = new Image();
let about = null, map = null, shown = null, asking = null;

function make(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function percent(share) {
  if (share >= 0.9995) return "> 99.9 %";
  return share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function say(text, className = "") {
  element("status").className = className;
  element("status").textContent = text;
}

async function ask(address, options) {
  const reply = await fetch(address, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  });
  const answer = await reply.json().catch(() => ({ error: `the service answered with status ${reply.status}.` }));
  if (!reply.ok) throw new Error(answer.error[0].toUpperCase() + answer.error.slice(1));
  return answer;
}

async function start() {
  about = await ask("/api");
  const images = about.training_images;
  document.title = `tercet: ${about.model}`;
  const learned = images ? ` learned from ${images.count.toLocaleString("en")} images` : "";
  element("about").textContent = `Asks the model “${about.model}”: ${about.classes.length} classes${learned}.`;
  element("curl").textContent = `curl --data-binary @image.jpg ${location.origin}/api/predict`;
  element("missing").replaceChildren(...about.missing.map((sentence) => make("p", sentence)));
  if (images && images.pictured) {
    sheet.src = "/training-images.webp";
    await sheet.decode();
  }
  if (about.map) map = await ask("/api/map");
}

async function smaller(file) { // as JPEG, on white as the model sees transparency
  const picture = await createImageBitmap(file).catch(() => {
    const limit = about.limits.bytes / 1e6;
    throw new Error(`Found more than ${limit} MB that this browser cannot make smaller; choose a smaller image.`);
  });
  const scale = Math.min(1, SENT_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

async function look(file, note = "") {
  asking?.abort();
  const own = asking = new AbortController();
  element("answer").setAttribute("aria-busy", "true");
  say("Looking …");
  try {
    await ready;
    const isLarge = file.size > about.limits.bytes;
    const body = isLarge ? await smaller(file) : file;
    const headers = { "Content-Type": "application/octet-stream" };
    const address = `/api/describe?k=${SHOWN_CLASSES}`;
    const answer = await ask(address, { method: "POST", body, headers, signal: own.signal });
    if (own === asking) show(file, answer, isLarge ? `${note} Made smaller before it was sent.` : note);
  } catch (error) {
    if (own !== asking) return;
    element("answer").hidden = true;
    say(error.message, "fault");
  } finally {
    if (own === asking) element("answer").removeAttribute("aria-busy");
  }
}

function show(file, answer, note) {
  shown = answer;
  document.body.classList.add("asked");
  element("answer").hidden = false;
  element("gallery").hidden = !answer.neighbors;
  element("mapped").hidden = !answer.place;
  showPicture(file, note);
  element("predicted").textContent = answer.predicted;
  element("classes").replaceChildren(...answer.top.map(([name, share]) => classRow(name, share)));
  if (answer.neighbors) showNeighbors(answer.neighbors);
  if (answer.place) showPlace(answer.place);
  say(`Most likely ${answer.predicted}: ${percent(answer.probability)}`, "unseen");
}

function showPicture(file, note) {
  const preview = element("preview");
  URL.revokeObjectURL(preview.src);
  preview.hidden = false;
  preview.src = URL.createObjectURL(file);
  element("name").textContent = `${file.name || "Pasted image"}${note ? `.${note}` : ""}`;
}

function classRow(name, share) {
  const row = make("li", ""), bar = make("div", "", "bar"), filled = make("span", "");
  filled.style.width = `${100 * share}%`;
  bar.append(filled);
  row.append(make("b", name), bar, make("span", percent(share), "share"));
  return row;
}

function showNeighbors(neighbors) {
  element("neighbors").replaceChildren(...neighbors.map((neighbor) => {
    const row = make("li", ""), name = make("span", neighbor.name.split("/").pop());
    const distance = `${neighbor.squared_distance.toFixed(3)} away`; // "searched" says that it is squared
    row.title = neighbor.name;
    if (neighbor.tile !== null) row.append(tile(neighbor.tile));
    row.append(make("b", neighbor.label), name, make("span", distance));
    return row;
  }));
  const { count, pictured } = about.training_images, all = count.toLocaleString("en");
  const isSample = pictured && pictured < count;
  element("searched").textContent = isSample
    ? `Nearest first by squared distance, of a random sample of ${pictured.toLocaleString("en")} of the ${all} training images.`
    : `Nearest first by squared distance, of all ${all} training images.`;
}

function tile(place) {
  const canvas = document.createElement("canvas"), columns = about.training_images.columns;
  const side = canvas.width = canvas.height = sheet.naturalWidth / columns;
  canvas.className = side < COARSE_BELOW ? "coarse" : "";
  canvas.setAttribute("aria-hidden", "true"); // its class and name follow
  const left = place % columns * side, top = Math.floor(place / columns) * side;
  canvas.getContext("2d").drawImage(sheet, left, top, side, side, 0, 0, side, side);
  return canvas;
}

function showPlace(place) {
  const parts = place.classes.map(([name, count]) => `${count} × ${name}`).join(", ");
  element("place").textContent = `The ring: the mean of the points of the ${place.neighbors.length} nearest test images `
    + `on the map (${parts}), the nearer counting more. t-SNE itself has no place for a new image.`;
  drawMap(element("map"), map, place);
}

function take(files, otherwise) {
  const images = [...files].filter((file) => file.type.startsWith("image/") || !file.type);
  if (!images.length) return say(files.length ? "This is no image; choose an image file." : otherwise, "fault");
  return look(images[0], images.length > 1 ? ` The first of ${images.length}.` : "");
}

element("file").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // so that the same file can be chosen again
  if (files.length) take(files, "");
});
element("file").addEventListener("keydown", (event) => { // as a button; of itself it opens by the space bar only
  if (event.key !== "Enter") return;
  event.preventDefault();
  event.target.click();
});
document.addEventListener("paste", (event) => take(event.clipboardData.files, "What was pasted is no image."));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) element("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  take(event.dataTransfer.files, "What was dropped is no image file; save it first and drop the file.");
});
element("preview").addEventListener("load", (event) => {
  event.target.classList.toggle("coarse", event.target.naturalWidth < COARSE_BELOW);
});
element("preview").addEventListener("error", (event) => {
  event.target.hidden = true;
  element("name").textContent += " (this browser cannot show it)";
});
window.addEventListener("resize", () => shown?.place && drawMap(element("map"), map, shown.place));

const ready = start();
ready.catch((error) => say(error.message, "fault"));
