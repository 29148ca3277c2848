/**
 * `npm run cuda:checks [plain|address|thread|device ...]`: the kernel tests in every way that build.ts knows, the plain one
 * with three orders of threads and blocks, on every kind of device that the emulation knows. Exits 1 where something was found.
 */
import { join } from 'node:path';
import { build, execute, type Flavour, flavours, missing, root } from './build.js';

const chosen = process.argv.slice(2);
for (const name of chosen)
  if (!flavours.includes(name as Flavour)) throw new Error(`there is no check '${name}', only ${flavours.join(', ')}`);

/**
 * Runs of each flavour. The device is by default one with little shared memory; 80 takes the widest tiles of mma.sync, 90
 * what only Hopper has, which clang's PTX for sm_80 has not.
 */
const runs: Record<Flavour, { seed: string; arch: string }[]> = {
  plain: [
    ...['1', '2', '3'].map((seed) => ({ seed, arch: '86' })),
    { seed: '1', arch: '80' },
    ...['1', '2', '3'].map((seed) => ({ seed, arch: '90' })),
  ],
  address: ['86', '80', '90'].map((arch) => ({ seed: '1', arch })),
  thread: ['86', '90'].map((arch) => ({ seed: '1', arch })),
  device: [{ seed: '1', arch: '86' }],
};

/** ThreadSanitizer makes a thread of every CUDA thread: large cases would take hours, and race as small ones do. */
const smallCases = { MOST_PRODUCTS: '5e6' };

let failed = false;
for (const flavour of flavours) {
  if (chosen.length > 0 && !chosen.includes(flavour)) continue;
  const reason = await missing(flavour);
  if (reason) {
    console.log(`${flavour.padEnd(8)} skipped: ${reason}`);
    continue;
  }
  const started = Date.now();
  const binary = await build(flavour, join(root, 'build/cuda-checks', flavour));
  const built = Date.now();
  for (const { seed, arch } of runs[flavour]) {
    const environment = { BTS_EMULATION_SEED: seed, BTS_EMULATED_ARCH: arch };
    const result = await execute(binary, '', { ...environment, ...(flavour === 'thread' ? smallCases : {}) });
    failed ||= result.failed;
    const lines = result.output.trim().split('\n');
    console.log(
      `${flavour.padEnd(8)} ${result.failed ? lines.slice(0, 40).join('\n') : lines.at(-1)}, sm_${arch}, seed ${seed}`,
    );
  }
  console.error(
    `${flavour}: ${((built - started) / 1000).toFixed(0)} s to build, ${((Date.now() - built) / 1000).toFixed(0)} s to run`,
  );
}
process.exit(failed ? 1 : 0);
