/**
 * `npm run test:sanitizers -- address|undefined|thread [FILE ...]`: builds the addon with a sanitizer of clang and runs the tests
 * that touch it, or those given, on that binary. The first report ends it.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildSanitized, root, SANITIZERS } from './build.js';

/** The addon by itself, every op, and models of every kind that are trained, asked and saved. */
const TESTS = [
  ...[
    'ops',
    'tensor/device',
    'tensor/program',
    'tensor/tape',
    'native',
    'train',
    'package/lifetimes',
    'package/memory',
  ],
  ...['serving/engine'],
  ...['model/dense-model', 'model/stitched-model', 'model/generate', 'model/generate-many'],
];

const [kind, ...files] = process.argv.slice(2);
const found = SANITIZERS.find((name) => name === kind);
if (!found) {
  console.error(`Which sanitizer? One of ${SANITIZERS.join(', ')}: npm run test:sanitizers -- address`);
  process.exit(1);
}
const environment = await buildSanitized(found);
const args = ['--import', 'tsx', join(root, 'test/only.ts'), ...(files.length > 0 ? files : TESTS)];
const { status, signal } = spawnSync(process.execPath, args, {
  cwd: root,
  env: { ...process.env, ...environment },
  stdio: 'inherit',
});
if (signal) console.error(`The tests ended with ${signal}.`);
process.exitCode = status ?? 1;
