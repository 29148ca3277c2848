// What the scripts of addon-lifetimes.test.ts start with, in processes and worker threads of their own. Plain JavaScript
// on the binary itself: nothing else is alive beside it.
const { readdirSync } = require('node:fs');
const { join } = require('node:path');
const { Worker } = require('node:worker_threads');

const root = join(__dirname, '../..');
const load = () => require(join(root, 'build/Release/branch_train_stitch.node'));
const addon = load();

exports.load = load;
exports.open = (threads = 2, from = addon) => {
  const device = new from.Device(threads, '');
  const { read } = device;
  const bytes = ({ shape }) => 4 * shape.reduce((product, size) => product * size, 1);
  const value = (tensor) => read.call(device, tensor, tensor && new ArrayBuffer(bytes(tensor)));
  return Object.defineProperty(device, 'read', { value });
};
exports.threads = () => readdirSync('/proc/self/task').length;

/** Queues products of n x n matrices: of 1024, several milliseconds each. Returns the last, which holds n everywhere. */
exports.work = (device, products, n = 256) => {
  const ones = (shape) => {
    const y = device.allocate('f32', shape);
    device.run('fill', { y, value: 1 });
    return y;
  };
  const [x, y, w] = [ones([1, n, n]), ones([1, n, n]), ones([n, n])];
  for (let i = 0; i < products; i++) device.run('linear_forward', { y, x, weight: [w] });
  return y;
};

/** The first number of what a read delivers. */
exports.first = async (read) => new Float32Array(await read)[0];

/** A worker thread that runs `body`, with all of these at hand and `post` to answer. */
exports.start = (body) => {
  const names = Object.keys(exports).join(', ');
  const setup = `const { ${names} } = require(${JSON.stringify(__filename)});
    const post = (message) => require('node:worker_threads').parentPort.postMessage(message);`;
  return new Worker(`${setup} (async () => { ${body} })();`, { eval: true });
};
exports.message = (worker) =>
  new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject).once('exit', reject));
exports.ended = (worker) => new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));

/** Collects garbage until `done` holds; false if it never does. Needs --expose-gc. */
exports.collected = async (done) => {
  for (let i = 0; i < 200 && !done(); i++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return done();
};
