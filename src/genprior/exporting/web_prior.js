// What the page computes: draws by number, images of latents, and images that fit what is known of one.
// Nothing here knows the page. An image is a flat array (C, H, W) of numbers in [0, 1]; a batch is an array of those.

const ROWS = 16; // of a batch that a network takes at most
const NOISE = 0.1; // standard deviation by which an image of the model may miss a known value
const STARTS = 64; // draws, of which the best one starts a search that no encoder starts
const DIRECTIONS = 48; // of latents along which a search moves, at most
const STEP = 0.05; // between two latents whose images tell a slope
const DAMPED = [0, 3, 30, 300]; // weights that hold a step back, all tried at once
const TURNS = 2; // times that such steps are tried from where the last ones led

// Standard normal numbers that whole numbers decide, the same on every machine (Box & Muller 1958).
function normals(count, ...words) {
  const mixed = (word) => {
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return (word ^ (word >>> 16)) >>> 0;
  };
  let state = words.reduce((sum, word) => mixed(sum ^ mixed(word + 1)), 0x9e3779b9);
  const share = () => (mixed((state = (state + 0x9e3779b9) >>> 0)) + 0.5) / 2 ** 32;
  const found = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(share())), angle = 2 * Math.PI * share();
    found[i] = radius * Math.cos(angle);
    if (i + 1 < count) found[i + 1] = radius * Math.sin(angle);
  }
  return found;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// sum of weights[i] * rows[i], added to a copy of `to`.
function mixture(to, rows, weights) {
  const found = Float32Array.from(to);
  rows.forEach((row, i) => { for (let k = 0; k < found.length; k++) found[k] += weights[i] * row[k]; });
  return found;
}

// From a (share 0) to b (share 1) on a great circle: what lies between is as long as draws are.
function onCircle(a, b, share) {
  const lengths = Math.max(Math.sqrt(dot(a, a) * dot(b, b)), 1e-12);
  const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / lengths))), sine = Math.sin(angle);
  const weights = sine < 1e-4 ? [1 - share, share] : [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine];
  return mixture(new Float32Array(a.length), [a, b], weights);
}

// Random directions of length 1 at right angles (Gram & Schmidt).
function directionsOf(count, size) {
  const found = [];
  for (let i = 0; i < count; i++) {
    let row = normals(size, 3, i);
    for (let twice = 0; twice < 2; twice++) row = mixture(row, found, found.map((other) => -dot(other, row)));
    const length = Math.sqrt(dot(row, row));
    found.push(row.map((value) => value / length));
  }
  return found;
}

// The c with (M + (1 + weight) I) c = b, M symmetric and not negative: by Cholesky's factors.
function solved(matrix, b, weight) {
  const n = b.length, lower = matrix.map((row) => Float64Array.from(row)), c = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    lower[i][i] += 1 + weight;
    for (let j = 0; j <= i; j++) {
      let sum = lower[i][j];
      for (let k = 0; k < j; k++) sum -= lower[i][k] * lower[j][k];
      lower[i][j] = i === j ? Math.sqrt(sum) : sum / lower[j][j];
    }
    for (let k = 0; k < i; k++) c[i] -= lower[i][k] * c[k];
    c[i] /= lower[i][i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) c[i] -= lower[k][i] * c[k];
    c[i] /= lower[i][i];
  }
  return c;
}

// The networks, each a file of ONNX that onnxruntime has opened.
class Networks {
  constructor(ort, sessions) {
    Object.assign(this, {ort, sessions});
  }

  // Rows of what a network gives. `inputs`: rows, and the shape of one, by the names of the inputs.
  async run(name, inputs) {
    const session = this.sessions[name], feeds = {};
    for (const [input, [rows, shape]] of Object.entries(inputs)) {
      const size = shape.reduce((product, side) => product * side, 1), flat = new Float32Array(rows.length * size);
      rows.forEach((row, i) => flat.set(row, i * size));
      feeds[input] = new this.ort.Tensor("float32", flat, [rows.length, ...shape]);
    }
    const tensor = (await session.run(feeds))[session.outputNames[0]];
    const width = tensor.data.length / tensor.dims[0];
    await new Promise((go) => setTimeout(go)); // the page draws and listens between two runs
    return Array.from({length: tensor.dims[0]}, (_, i) => tensor.data.slice(i * width, (i + 1) * width));
  }
}

// A prior whose images are those of latents z: GAN, GLO, VAE, Glow.
class LatentModel {
  constructor(facts, networks, drawn) {
    Object.assign(this, {facts, networks, drawn, size: facts.latent_size});
  }

  // Latent of the draw with this number; a prior that is not standard normal came with some draws.
  draw(number) {
    if (!this.drawn) return normals(this.size, 0, number);
    const row = number % (this.drawn.length / this.size);
    return this.drawn.slice(row * this.size, (row + 1) * this.size);
  }

  between(a, b, share) {
    return onCircle(a, b, share);
  }

  async images(latents) {
    const found = [];
    for (let i = 0; i < latents.length; i += ROWS) {
      found.push(...await this.networks.run("generator", {z: [latents.slice(i, i + ROWS), [this.size]]}));
    }
    return found;
  }

  // `count` images that fit an image where `known` (H, W) is 1. A Gauss-Newton search for the least of
  // |x(z) - x|^2 / (2 NOISE^2) + |z|^2 / 2 over known values; slopes are differences of images along directions.
  // The first answer is the likeliest that is found. For the others, noise is added to the image and to the centre of
  // the latents, so that they spread about as draws do (Bardsley et al. 2014, https://doi.org/10.1137/140964023).
  async fill(image, known, count, seed) {
    const places = placesOf(known, image.length), task = {image, known, places};
    const start = await this.start(task), directions = directionsOf(Math.min(this.size, DIRECTIONS), this.size);
    const [base] = await this.images([start]);
    const moved = await this.images(directions.map((each) => mixture(start, [each], [STEP])));
    const slopes = moved.map((x) => Float64Array.from(places, (place) => (x[place] - base[place]) / (STEP * NOISE)));
    const products = slopes.map((a, i) => Float64Array.from(slopes, (b, j) => (j <= i ? dot(a, b) : 0)));
    const lines = {directions, slopes, products};
    let all = Array.from({length: count}, (_, i) => this.asked(task, i, seed, start, base));
    for (let turn = 0; turn < TURNS; turn++) all = await this.stepped(all, lines);
    return all.map((each) => each.x);
  }

  // What an answer is held against, and where it is now.
  asked(task, number, seed, z, x) {
    const scale = number === 0 ? 0 : 1, centre = normals(this.size, 1, seed, number).map((value) => scale * value);
    const noise = normals(task.places.length, 2, seed, number);
    const target = Float64Array.from(task.places, (place, i) => task.image[place] + scale * NOISE * noise[i]);
    const found = {places: task.places, centre, target, z, x};
    return {...found, cost: cost(found, z, x)};
  }

  // Each answer after the best of some steps, all tried in batches; one that gets no better stays.
  async stepped(all, {directions, slopes, products}) {
    const tried = all.flatMap((each) => {
      const off = Float64Array.from(each.places, (place, i) => (each.target[i] - each.x[place]) / NOISE);
      const away = mixture(each.z, [each.centre], [-1]);
      const pull = directions.map((direction, i) => dot(slopes[i], off) - dot(direction, away));
      return DAMPED.map((weight) => mixture(each.z, directions, solved(products, pull, weight)));
    });
    const images = await this.images(tried);
    return all.map((each, i) => {
      const own = DAMPED.map((_, j) => i * DAMPED.length + j);
      const found = own.map((j) => ({...each, z: tried[j], x: images[j], cost: cost(each, tried[j], images[j])}));
      return found.reduce((best, other) => (other.cost < best.cost ? other : best), each);
    });
  }

  // Where the search starts: what the encoder says, else the draw that fits best.
  async start({image, known, places}) {
    const [channels, height, width] = this.facts.shape;
    if (this.facts.way === "encoder") {
      const inputs = {x: [[image], [channels, height, width]], known: [[known], [1, height, width]]};
      return (await this.networks.run("encoder", inputs))[0];
    }
    const latents = Array.from({length: STARTS}, (_, i) => this.draw(i)), images = await this.images(latents);
    const misses = images.map((x) => missOf(x, image, places));
    return latents[misses.indexOf(Math.min(...misses))];
  }
}

// -log of the posterior of z, up to a constant.
function cost(asked, z, x) {
  let sum = 0;
  asked.places.forEach((place, i) => { sum += ((x[place] - asked.target[i]) / NOISE) ** 2; });
  for (let k = 0; k < z.length; k++) sum += (z[k] - asked.centre[k]) ** 2;
  return sum / 2;
}

// Indices of the values of an image whose pixel is known, in all channels.
function placesOf(known, length) {
  return Array.from({length}, (_, i) => i).filter((i) => known[i % known.length] > 0);
}

// Root mean square difference of two images over some of their values; 0 where there are none.
function missOf(x, image, places) {
  return Math.sqrt(places.reduce((sum, i) => sum + (x[i] - image[i]) ** 2, 0) / Math.max(1, places.length));
}

// Flow matching: images are drawn by a denoiser that takes off noise step by step, and puts back less than there was
// (Ho et al. 2020, https://arxiv.org/abs/2006.11239; second order as in Lu et al. 2022, https://arxiv.org/abs/2211.01095).
// A latent is all of the noise that is put in on the way, one array a level.
class DenoisedModel {
  constructor(facts, networks) {
    Object.assign(this, {facts, networks, size: facts.latent_size});
  }

  draw(number) {
    return this.facts.sample_levels.map((_, level) => normals(this.size, 0, number, level));
  }

  between(a, b, share) {
    return a.map((noise, level) => onCircle(noise, b[level], share));
  }

  async images(latents) {
    const found = [], levels = this.facts.sample_levels;
    for (let i = 0; i < latents.length; i += ROWS) {
      const rows = latents.slice(i, i + ROWS);
      const blank = rows.map(() => new Float32Array(this.size).fill(this.facts.mean));
      found.push(...await this.uncovered(blank, levels, (row, level) => rows[row][level], (x) => x));
    }
    return found;
  }

  // `count` images that fit an image where `known` (H, W) is 1: whatever the denoiser says, its known values are
  // replaced by those of the image. Noise covers the result again some times over, so that what was decided while
  // nothing of the hole was seen can be mended (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865).
  async fill(image, known, count, seed) {
    const kept = (x) => x.map((value, i) => (known[i % known.length] > 0 ? image[i] : value));
    let found = Array.from({length: count}, () => new Float32Array(this.size));
    for (const [pass, levels] of this.facts.fill_passes.entries()) {
      const noise = (row, level) => normals(this.size, 1, seed, row, 100 * pass + level);
      found = await this.uncovered(found, levels, noise, kept);
    }
    return found;
  }

  // Images after noise of the first level has covered them and each level was taken off. `noise`: of a row and level.
  async uncovered(images, levels, noise, kept) {
    let x = images.map((row, i) => mixture(row, [noise(i, 0)], [levels[0]])), before = null;
    for (let k = 0; ; k++) {
      const now = levels[k], sigma = x.map(() => Float32Array.of(now));
      const mean = (await this.networks.run("denoiser", {x: [x, this.facts.shape], sigma: [sigma, []]})).map(kept);
      if (k + 1 === levels.length) return mean;
      const then = levels[k + 1], left = (then / now) ** 2, lost = then * Math.sqrt(1 - left);
      const bend = before && this.facts.change * 0.5 * (1 - left) * Math.log(now / then) / Math.log(levels[k - 1] / now);
      x = mean.map((row, i) => {
        const rows = [x[i], row, noise(i, k + 1), ...(before ? [row, before[i]] : [])];
        return mixture(new Float32Array(this.size), rows, [left, 1 - left, lost, ...(before ? [bend, -bend] : [])]);
      });
      before = mean;
    }
  }
}

// Bytes of a block of the page: gzip, as base64.
async function unpacked(id) {
  const text = atob(document.getElementById(id).textContent.trim()), packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Opens all that the page holds. The runtime is a module, and a page from disk may import one from nowhere but itself.
async function opened(facts, names) {
  const address = URL.createObjectURL(new Blob([await unpacked("runtime")], {type: "text/javascript"}));
  const ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.wasm.numThreads = 1; // more need headers that a page from disk has not
  ort.env.wasm.wasmBinary = (await unpacked("runtime-binary")).buffer;
  const sessions = {};
  for (const name of names) sessions[name] = await ort.InferenceSession.create(await unpacked(name));
  const networks = new Networks(ort, sessions);
  if (facts.way === "denoiser") return new DenoisedModel(facts, networks);
  const drawn = facts.drawn ? new Float32Array((await unpacked("latents")).buffer) : null;
  return new LatentModel(facts, networks, drawn);
}
