/** What the published binaries ask of a system; of those that `npm run prebuild` has made here. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PLATFORMS } from '../../native/packaging/platforms.js';
import { root } from '../../native/packaging/root.js';

const prebuilds = suite('prebuilds');
/** glibc of RHEL 8, and the oldest that Node.js 20 runs with. */
const OLDEST_GLIBC = '2.28';

const objdump = (...args: string[]) => execFileSync('objdump', args, { encoding: 'utf8' });
const isNewer = (version: string) => version.localeCompare(OLDEST_GLIBC, 'en', { numeric: true }) > 0;

function whySkipped(folder: string): string | undefined {
  if (!existsSync(join(folder, 'package.json'))) return "'npm run prebuild' has not made it";
  try {
    objdump('--version');
  } catch {
    return 'there is no objdump';
  }
  return undefined;
}

for (const name of Object.keys(PLATFORMS)) {
  const folder = join(root, 'prebuilds', name);
  const why = whySkipped(folder);
  if (why !== undefined) {
    console.log(`prebuilds/${name}: skipped, ${why}`);
    continue;
  }
  const binary = join(folder, JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).main);
  const symbols = objdump('-T', binary)
    .split('\n')
    .filter((line) => /^[0-9a-f]{8,} [^l]/.test(line)); // without those that are local
  const [imported, exported] = [true, false].map((is) => symbols.filter((line) => line.includes('*UND*') === is));

  prebuilds(`${name} needs no symbol of a C library newer than ${OLDEST_GLIBC}`, () => {
    const versions = imported!.flatMap((line) => /GLIBC_([\d.]+)/.exec(line)?.[1] ?? []);
    assert.ok(versions.length > 20, `${versions.length} versions`);
    assert.equal([...new Set(versions)].filter(isNewer), []);
  });

  prebuilds(`${name} brings the compiler's runtime along, and shows Node.js alone what it is asked for`, () => {
    const needed = [...objdump('-p', binary).matchAll(/NEEDED +(\S+)/g)].map(([, library]) => library!);
    assert.equal(
      needed.filter((library) => !/^(libc|libm|libpthread|libdl|librt|ld-linux-[\w-]+)\.so\.\d$/.test(library)),
      [],
    );
    // A name without a version would be anybody's, but for what is Node's, and what need not be there.
    const anybodys = imported!.filter((line) => !/GLIBC_|\bnapi_|\bnode_api_| {2}w {2}/.test(line));
    assert.equal(anybodys, []);
    assert.equal(exported!.map((line) => line.replace(/.* /, '')).sort(), [
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
    ]);
  });
}

prebuilds.run();
