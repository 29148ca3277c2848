import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BtsError } from '../../lib/base/errors.js';
import type { Sysroot } from './platforms.js';
import { root } from './root.js';

/** The folder with a C library to link with, below build/; fetched from the npm registry once, and checked by its hash. */
export function sysroot({ package: spec, integrity, folder }: Sysroot): string {
  const sysroots = join(root, 'build', 'sysroots');
  const kept = join(sysroots, spec.replace(/^.*\//, ''));
  if (existsSync(kept)) return kept;
  mkdirSync(sysroots, { recursive: true });
  const temporary = mkdtempSync(join(sysroots, 'fetch-'));
  try {
    const run = (command: string, args: string[]) => execFileSync(command, args, { cwd: temporary, encoding: 'utf8' });
    const archive = run('npm', ['pack', '--silent', spec]).trim();
    const hash = `sha512-${createHash('sha512')
      .update(readFileSync(join(temporary, archive)))
      .digest('base64')}`;
    if (hash !== integrity)
      throw new BtsError('BAD_DATA', `${spec} has the hash ${hash}, not ${integrity}: it is not what was published.`);
    run('tar', ['-xzf', archive]);
    const inner = readdirSync(join(temporary, 'package')).find((name) => name.endsWith('.tar.xz'))!;
    run('tar', ['-xJf', join('package', inner), `./${folder}`]);
    renameSync(join(temporary, folder), kept);
    return kept;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
