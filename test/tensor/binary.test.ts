/** Where binaries are looked for, in an installation of its own, and what a broken one does. */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startNode } from '../support/cli.js';

const binary = suite('binary');
const root = fileURLToPath(new URL('../..', import.meta.url));
const platform = `${process.platform}-${process.arch}`;

let folder: string;
binary.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-binary-'));
  for (const name of ['lib', 'package.json']) await cp(join(root, name), join(folder, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
});
binary.after.each(() => rm(folder, { recursive: true, force: true }));

/** What the installation in `folder` prints that evaluates `expression`, or the error that it threw. */
async function evaluate(expression: string): Promise<{ value?: unknown; code?: string; message?: string }> {
  const script = `
    const { Device } = await import('./lib/tensor/device.js');
    try { console.log(JSON.stringify({ value: ${expression} })); }
    catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`;
  const { stdout, stderr, code } = await startNode(['--input-type=module', '-e', script], { cwd: folder }).ended;
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Puts a binary there that does `body` when it is loaded. */
async function compile(path: string, body: string): Promise<void> {
  await mkdir(join(folder, path, '..'), { recursive: true });
  const source = `#include <stdlib.h>\n__attribute__((constructor)) static void loaded(void) { ${body} }\n`;
  execFileSync('cc', ['-shared', '-fPIC', '-x', 'c', '-', '-o', join(folder, path)], { input: source });
}

const useOwnCpu = async () => {
  await mkdir(join(folder, 'build'));
  await symlink(join(root, 'build', 'Release'), join(folder, 'build', 'Release'));
};

binary('where there is none, the error names the package, the place and the command', async () => {
  const { code, message } = await evaluate("Device.open('cpu').name");
  assert.is(code, 'ADDON_NOT_LOADED');
  assert.match(message!, `${folder}/build/Release/branch_train_stitch.node`);
  assert.match(message!, `'npm run build:native' in ${folder}`);
  if (['linux-x64', 'linux-arm64'].includes(platform))
    assert.match(message!, new RegExp(`'npm install @branch-train-stitch/${platform}@\\d+\\.\\d+\\.\\d+\\S*'`));
});

binary('one that cannot be loaded is named with what to do', async () => {
  await compile('build/Release/branch_train_stitch.node', '');
  const { code, message } = await evaluate("Device.open('cpu').name");
  assert.is(code, 'ADDON_NOT_LOADED');
  assert.match(message!, /cannot be loaded: .*register.*'npm run build:native'/s);
});

binary('what was built here is taken', async () => {
  await useOwnCpu();
  assert.is((await evaluate("Device.open('cpu').name")).value, 'cpu');
});

for (const [how, body, told] of [
  ['aborts', 'abort();', /ended by SIGABRT/],
  ['segfaults', '*(volatile int*)0 = 0;', /ended by SIGSEGV/],
  ['exits', '_Exit(3);', /ended with status 3/],
] as const) {
  binary(
    `a binary for GPUs that ${how} when it is loaded takes nobody along: the CPU is used, and told why`,
    async () => {
      await useOwnCpu();
      await compile('build/cuda/branch_train_stitch_cuda.node', body);
      const { value } = await evaluate("(({ name, fallback }) => [name, fallback])(Device.open('auto'))");
      const [name, fallback] = value as [string, string];
      assert.is(name, 'cpu');
      assert.match(fallback, told);
      const { code, message } = await evaluate("Device.open('cuda').name");
      assert.is(code, 'NO_DEVICE');
      assert.match(message!, told);
    },
  );
}

binary.run();
