/**
 * The process of one target: node process.cjs SETTINGS, which are JSON: the target's bundle, how many edges it has, libFuzzer's
 * arguments. Plain JavaScript, which runs as it is.
 */
const { constants } = require('node:os');

/** Of files in memory. */
const FOLDER = '/memory';

const { engine: path, bundle, edges, seconds, args } = JSON.parse(process.argv[2]);

const module_ = { exports: {} };
// Global: an instrumented addon counts in what libFuzzer looks at.
process.dlopen(module_, path, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);
const engine = module_.exports;

globalThis.fuzzing = {
  edges: engine.edges(edges),
  /** Whether two values are the same, one of which stands in the code. */
  same(a, b) {
    if (a === b) return true;
    if (typeof a === 'string' && typeof b === 'string') engine.compared(a, b);
    return false;
  },
};
const { target } = require(bundle);

let unhandled;
process.on('unhandledRejection', (error) => {
  unhandled ??= error;
});
process.on('uncaughtException', (error) => {
  unhandled ??= error;
});
const prepared = target.prepare?.(FOLDER);
engine.start(args, seconds, async (data) => {
  let failure;
  try {
    await prepared;
    await target.run(data, FOLDER);
    // A rejection that nobody handles is told once all else is done.
    await new Promise(setImmediate);
  } catch (error) {
    failure = error;
  }
  failure ??= unhandled;
  if (failure) console.error(failure);
  engine.ended(!failure);
});
