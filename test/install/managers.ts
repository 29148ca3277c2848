/** Package managers, and what they are told. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { line } from '../support/lines.js';
import { Project, registry, workplace } from './project.js';
import { tool } from './tools.js';

const platform = `${process.platform}-${process.arch}`;
const scoped = 'node_modules/@branch-train-stitch';
const [node] = [process.execPath];

/** Nothing but what suits this machine is there. */
function suits(project: Project): void {
  const found = readdirSync(join(project.folder, scoped));
  assert.ok(found.includes(platform), `${found}`);
  assert.ok(
    found.every((name) => name.startsWith(platform)),
    `${found}`,
  );
}

for (const major of [10, 11]) {
  line(`npm ${major}`, async () => {
    const project = await Project.create(`npm-${major}`);
    await project.run([node, tool(`npm@${major}`, 'bin/npm-cli.js'), 'install']);
    suits(project);
    await project.works();
    return await version(project, [node, tool(`npm@${major}`, 'bin/npm-cli.js')]);
  });
}

for (const major of [10, 12]) {
  line(`pnpm ${major}`, async () => {
    const project = await Project.create(`pnpm-${major}`);
    const pnpm = [node, tool(`pnpm@${major}`, major < 11 ? 'bin/pnpm.cjs' : 'bin/pnpm.mjs')];
    await project.run([...pnpm, 'install']);
    await project.works();
    return await version(project, pnpm);
  });
}

line('yarn 1', async () => {
  const project = await Project.create('yarn-1');
  const yarn = [node, tool('yarn@1', 'bin/yarn.js')];
  // Its own takes a tarball for one that it has seen by name and version alone: it would be that of a run before.
  await project.run([...yarn, 'install', '--non-interactive', '--cache-folder', join(workplace, 'yarn-1')]);
  suits(project);
  await project.works();
  return await version(project, yarn);
});

for (const linker of ['node-modules', 'pnp']) {
  line(`yarn 4, ${linker}`, async () => {
    const project = await Project.create(`yarn-4-${linker}`, {
      'yarn.lock': '',
      '.yarnrc.yml': [
        `nodeLinker: ${linker}`,
        `npmRegistryServer: "${execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim()}"`,
        `npmScopes: { branch-train-stitch: { npmRegistryServer: "${registry}" } }`,
        'unsafeHttpWhitelist: [127.0.0.1]',
        'enableTelemetry: false',
        'enableImmutableInstalls: false',
        `globalFolder: '${join(workplace, 'yarn')}'`,
        '',
      ].join('\n'),
    });
    const yarn = [node, tool('@yarnpkg/cli-dist@4', 'bin/yarn.js')];
    await project.run([...yarn, 'install']);
    if (linker === 'pnp') {
      assert.not.ok(existsSync(join(project.folder, 'node_modules')));
      assert.match((await project.run([...yarn, 'node', 'program.js'])).stdout, 'NO_DEVICE');
      await project.doctor([...yarn, 'bts']);
    } else {
      suits(project);
      await project.works();
    }
    return await version(project, yarn);
  });
}

line('npm --ignore-scripts', async () => {
  const project = await Project.create('ignore-scripts');
  await project.run(['npm', 'install', '--ignore-scripts']);
  await project.works();
  return undefined;
});

line('npm --omit=optional says what to install', async () => {
  const project = await Project.create('omit-optional');
  await project.run(['npm', 'install', '--omit=optional']);
  const { stderr } = await project.run([node, 'program.js']).catch((error) => error);
  assert.match(stderr, 'ADDON_NOT_LOADED');
  const [, advice] = /'npm install (@branch-train-stitch\/\S+)'/.exec(stderr) ?? [];
  await project.run(['npm', 'install', '--no-save', advice!]);
  await project.works();
  return `then 'npm install ${advice}' helps`;
});

line('node_modules without CUDA takes 15 MB at most', async () => {
  const project = await Project.create('size');
  await project.run(['npm', 'install']);
  const cuda = `${scoped}/${platform}-cuda`;
  const kilobytes = async (path: string) => Number.parseInt((await project.run(['du', '-sk', path])).stdout, 10);
  const [whole, gpus] = [await kilobytes('node_modules'), await kilobytes(cuda)];
  assert.ok(whole - gpus <= 15_000, `${whole - gpus} kB`);
  return `${((whole - gpus) / 1000).toFixed(1)} MB, and ${(gpus / 1000).toFixed(1)} MB for CUDA`;
});

line('a build from source in the installed package', async () => {
  const project = await Project.create('source');
  await project.run(['npm', 'install', '--omit=optional']);
  await project.run(['npm', 'explore', 'branch-train-stitch', '--', 'npm', 'run', 'build:native']);
  await project.works(undefined, undefined, 'built here');
  return undefined;
});

async function version(project: Project, manager: readonly string[]): Promise<string> {
  return (await project.run([...manager, '--version'])).stdout.trim();
}
