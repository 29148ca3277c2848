/** The languages and module systems of programs, and what linters of packages say. */
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { root } from '../../native/packaging/root.js';
import { line } from '../support/lines.js';
import { esm, Project, printed, program, tarballs } from './project.js';

const node = process.execPath;
const typescript = `import { BtsError, Device, type DeviceOptions } from 'branch-train-stitch';
const options: DeviceOptions = { threads: 2, precision: 'f32' };
// @ts-expect-error: there is no such precision.
const wrong: DeviceOptions = { precision: 'f64' };
void wrong;
async function main(): Promise<void> {
const device: Device = Device.open('cpu', options);
const values: Float32Array = (await device.full([3], 1.5).read()) as Float32Array;
let code: string = '';
try { Device.open('cpu', { instructionSet: 'none' }); }
catch (error) { code = error instanceof BtsError ? error.code : String(error); }
console.log([...values].join(' '), code);
device.dispose();
}
void main();
`;

let installed: Promise<Project> | undefined;
function installation(): Promise<Project> {
  installed ??= (async () => {
    const project = await Project.create('languages');
    await project.run(['npm', 'install']);
    for (const name of ['typescript', '@types', 'undici-types'])
      await symlink(join(root, 'node_modules', name), join(project.folder, 'node_modules', name));
    return project;
  })();
  return installed;
}

line('ESM', async () => {
  const project = await installation();
  await project.write({ 'module.mjs': esm });
  assert.is((await project.run([node, 'module.mjs'])).stdout, printed);
  return undefined;
});

line('CommonJS', async () => {
  const project = await installation();
  const required = `const { BtsError, Device } = require('branch-train-stitch');\n(async () => {${program}})();`;
  const same =
    "import('branch-train-stitch').then((m) => { if (m.Device !== Device) throw new Error('it is there twice'); });";
  await project.write({ 'module.cjs': `${required}\n${same}` });
  assert.is((await project.run([node, 'module.cjs'])).stdout, printed);
  return 'the very objects that ESM has';
});

for (const [module, moduleResolution, extension] of [
  ['node16', 'node16', 'mts'],
  ['node16', 'node16', 'cts'],
  ['nodenext', 'nodenext', 'mts'],
  ['nodenext', 'nodenext', 'cts'],
  ['esnext', 'bundler', 'ts'],
  ['commonjs', 'node10', 'cts'],
] as const) {
  line(`TypeScript, ${moduleResolution}, .${extension}`, async () => {
    const project = await installation();
    const folder = `${moduleResolution}-${extension}`;
    const compilerOptions = {
      module,
      moduleResolution,
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      strict: true,
      skipLibCheck: false,
    };
    await project.write({
      [`${folder}/program.${extension}`]: typescript,
      [`${folder}/tsconfig.json`]: JSON.stringify({ compilerOptions, files: [`program.${extension}`] }),
    });
    await project.run([node, 'node_modules/typescript/bin/tsc', '-p', folder]);
    const compiled = `${folder}/program.${extension.replace('ts', 'js')}`;
    assert.is((await project.run([node, compiled])).stdout, printed);
    return 'checked with skipLibCheck: false, and run';
  });
}

line('publint', async () => {
  const project = await installation();
  const { stdout } = await project.run([
    node,
    join(root, 'node_modules/publint/src/cli.js'),
    tarballs.main,
    '--strict',
  ]);
  return stdout.trim().split('\n').at(-1);
});

line('are the types wrong?', async () => {
  const project = await installation();
  const { stdout } = await project.run([
    node,
    join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js'),
    tarballs.main,
    '--format',
    'json',
  ]);
  const { analysis, problems = {} } = JSON.parse(stdout);
  assert.equal(Object.keys(problems), []);
  return `none of ${Object.keys(analysis.entrypoints['.'].resolutions).join(', ')}`;
});
