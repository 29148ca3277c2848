import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PUBLISHED } from '../../lib/tensor/binary.js';
import { root } from '../../native/packaging/root.js';

/** The packed packages, in `folder`. Where binaries are missing, npm says what to do and this throws. */
export function packed(folder: string): { main: string; all: string[] } {
  const pack = (cwd: string) =>
    execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd, stdio: ['ignore', 2, 2] });
  pack(root);
  for (const name of PUBLISHED) pack(join(root, 'prebuilds', name));
  const all = readdirSync(folder)
    .filter((name) => name.endsWith('.tgz'))
    .map((name) => join(folder, name));
  const main = all.find((path) => /\/branch-train-stitch-\d/.test(path))!;
  return { main, all };
}
