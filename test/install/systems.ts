/** Where an installation may lie and who may run it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp, mkdir, readdir, rename, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { line, Skipped } from '../support/lines.js';
import { Project, printed, workplace } from './project.js';
import { nodeOf } from './tools.js';

const node = process.execPath;
let installed: Promise<Project> | undefined;

/** An installation by npm that several lines look at and none changes. */
function installation(): Promise<Project> {
  installed ??= (async () => {
    const project = await Project.create('installed');
    await project.run(['npm', 'install']);
    return project;
  })();
  return installed;
}

/** Throws Skipped unless this process may do what only root may. */
function needsRoot(): void {
  if (process.getuid?.() !== 0) throw new Skipped('only root can arrange it');
}

line('no compiler and no Python on the path', async () => {
  const project = await Project.create('bare');
  const path = join(workplace, 'bare-path');
  await mkdir(path);
  const npm = join(dirname(node), 'npm');
  for (const program of [
    node,
    existsSync(npm) ? npm : execFileSync('which', ['npm'], { encoding: 'utf8' }).trim(),
    '/bin/sh',
    '/usr/bin/env',
  ])
    await symlink(program, join(path, program.replace(/.*\//, '')));
  const env = { PATH: path, npm_config_cache: join(workplace, 'bare-cache') };
  for (const program of ['cc', 'g++', 'make', 'cmake', 'python3'])
    await project.run(['sh', '-c', `! command -v ${program}`], env);
  await project.run(['npm', 'install'], env);
  await project.works(['node'], env);
  return (await readdir(path)).join(', ');
});

line('read-only', async () => {
  needsRoot();
  const { folder } = await installation();
  const mounted = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    'mount --bind -o ro . . && cd "$PWD" && ! touch new 2>/dev/null && exec "$@"',
    'sh',
  ];
  await (await installation()).works([...mounted, node], { HOME: join(folder, 'nowhere') });
  return undefined;
});

line('symlinked', async () => {
  const { folder } = await installation();
  const project = await Project.create('symlinked');
  await mkdir(join(project.folder, 'node_modules'));
  symlinkSync(
    join(folder, 'node_modules', 'branch-train-stitch'),
    join(project.folder, 'node_modules', 'branch-train-stitch'),
  );
  await project.works();
  return undefined;
});

line('a path with blanks and Unicode', async () => {
  const project = await Project.create("models of Zoë's, 模型 #1 100%");
  await project.run(['npm', 'install']);
  await project.works();
  await project.doctor(['node_modules/.bin/bts']);
  return project.folder.replace(/.*\//, '');
});

line('moved after it was installed', async () => {
  const project = await Project.create('before');
  await project.run(['npm', 'install']);
  const after = await Project.create('after');
  await rename(join(project.folder, 'node_modules'), join(after.folder, 'node_modules'));
  await after.works();
  return undefined;
});

line('another user, without a home', async () => {
  needsRoot();
  const project = await installation();
  const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  await project.works([...user, node], { HOME: '/nonexistent', XDG_CACHE_HOME: '' });
  return (await project.run([...user, 'id', '-un'])).stdout.trim();
});

line('512 MB of memory', async () => {
  needsRoot();
  const project = await installation();
  const [tasks, leave] = limitedGroup(512 << 20);
  try {
    const limited = ['sh', '-c', `echo $$ > ${tasks} && exec "$@"`, 'sh', node];
    await project.works(limited);
    const script = "import('branch-train-stitch').then(() => console.log(process.constrainedMemory()))";
    return `a control group says ${(await project.run([...limited, '-e', script])).stdout.trim()} bytes`;
  } finally {
    leave();
  }
});

/** A control group with so much memory: the file that takes processes in, and how to remove it. */
function limitedGroup(bytes: number): [tasks: string, leave: () => void] {
  const own = (folder: string) => join(folder, `bts-install-${process.pid}`);
  const [folder, limit] = existsSync('/sys/fs/cgroup/memory')
    ? [own('/sys/fs/cgroup/memory'), 'memory.limit_in_bytes']
    : [own('/sys/fs/cgroup'), 'memory.max'];
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, limit), `${bytes}`);
  } catch (error) {
    throw new Skipped(`no control group can be made: ${(error as Error).message}`);
  }
  return [join(folder, 'cgroup.procs'), () => rmdirSync(folder)];
}

for (const major of [20, 22, 24]) {
  line(`Node ${major}`, async () => {
    const project = await installation();
    const other = nodeOf(major);
    await project.works([other]);
    await project.write({
      'program.cjs': "const { Device } = require('branch-train-stitch'); console.log(typeof Device.open);",
    });
    const { stdout, stderr } = await project.run([other, 'program.cjs']);
    assert.is(stdout, 'function\n');
    assert.is(stderr, '');
    return (await project.run([other, '--version'])).stdout.trim();
  });
}

line('a worker thread', async () => {
  const project = await installation();
  const threads = `import { Worker } from 'node:worker_threads';
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(new URL('./program.js', import.meta.url));
      await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    }`;
  await project.write({ 'threads.js': threads });
  assert.is((await project.run([node, 'threads.js'])).stdout, printed.repeat(3));
  return 'three in turn';
});

line('arm64, emulated', async () => {
  if (!existsSync('/usr/bin/qemu-aarch64')) throw new Skipped('there is no qemu-aarch64');
  if (!existsSync('/usr/aarch64-linux-gnu/lib/libstdc++.so.6')) throw new Skipped('there are no libraries of arm64');
  const project = await Project.create('arm64');
  await project.run(['npm', 'install', '--cpu=arm64', '--os=linux']);
  const emulated = ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', nodeOf(20, 'linux-arm64')];
  await project.works(emulated, {}, 'linux-arm64');
  return (await project.run([...emulated, '-p', 'process.arch'])).stdout.trim();
});

line('a copy without package manager', async () => {
  const { folder } = await installation();
  const project = await Project.create('copied');
  await cp(join(folder, 'node_modules'), join(project.folder, 'node_modules'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  await project.works();
  return undefined;
});
