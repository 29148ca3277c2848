/** A training run in a process of its own, to be killed: killed-run.ts SEED_FOLDER OUT_FOLDER STEPS. */

import { openCpu } from './devices.js';
import { loadDense, newestOf, runTraining } from './training.js';

const [seed = '', folder = '', steps = ''] = process.argv.slice(2);
using device = openCpu();
const resume = await newestOf(folder);
using model = await loadDense(device, resume ?? seed);
process.stdout.write('training\n');
await runTraining(model, { folder, steps: Number(steps), learningRate: 1e-2, checkpointEvery: 1, resume });
process.stdout.write('finished\n');
