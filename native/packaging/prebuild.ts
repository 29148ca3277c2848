/**
 * `npm run prebuild [-- NAME...]`: the packages with binaries, in prebuilds/NAME; all of platforms.ts unless some are named.
 * Each is compiled by this machine's compilers and linked with an old C library, so that it runs on old systems.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { BtsError } from '../../lib/base/errors.js';
import { type Manifest, manifest } from './manifest.js';
import { PLATFORMS, type Platform } from './platforms.js';
import { root } from './root.js';
import { sysroot } from './sysroot.js';

const run = (command: string, args: readonly string[]) =>
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });

function compile(name: string, { target, file, compiler, options, sysroot: origin }: Platform): string {
  const folder = join(root, 'build', 'prebuild', name);
  const output = join(folder, 'out');
  const settings = [`-DCMAKE_CXX_COMPILER=${compiler}`, `-DBTS_SYSROOT=${sysroot(origin)}`, `-DBTS_OUTPUT=${output}`];
  run('cmake', ['-S', root, '-B', folder, ...settings, ...options]);
  run('cmake', ['--build', folder, '--parallel', `${availableParallelism()}`, '--target', target]);
  return join(output, file);
}

/** A folder that is ready for `npm publish`. */
function writePackage(name: string, { os, cpu, libc }: Platform, binary: string): void {
  const folder = join(root, 'prebuilds', name);
  const main = basename(binary);
  const { version, license, repository, homepage, bugs, engines } = manifest();
  const own: Manifest = {
    name: `@branch-train-stitch/${name}`,
    version,
    description: `The binary of branch-train-stitch for ${name}`,
    license,
    repository,
    homepage,
    bugs,
    engines,
    os: [os],
    cpu: [cpu],
    libc: [libc],
    main,
    files: [main],
    // A binary cannot be loaded from within an archive.
    preferUnplugged: true,
    publishConfig: { access: 'public' },
  };
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync(binary, join(folder, main));
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(own, null, 2)}\n`);
  const text = `The binary of [branch-train-stitch](${homepage}) for ${name}, which installs it where it suits.`;
  writeFileSync(join(folder, 'README.md'), `# @branch-train-stitch/${name}\n\n${text}\n`);
  console.log(`prebuilds/${name}: ${(statSync(binary).size / 1e6).toFixed(1)} MB`);
}

const names = process.argv.slice(2);
const known = Object.keys(PLATFORMS);
for (const name of names)
  if (!known.includes(name))
    throw new BtsError('BAD_OPTION', `there is no platform '${name}', only ${known.join(', ')}.`);
for (const [name, platform] of Object.entries(PLATFORMS))
  if (names.length === 0 || names.includes(name)) writePackage(name, platform, compile(name, platform));
