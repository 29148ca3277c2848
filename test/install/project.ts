import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { serve } from './registry.js';
import { packed } from './tarballs.js';

/** Where everything of this run lies; other users can read it. */
export const workplace = join(tmpdir(), `bts-install-${process.pid}`);
await mkdir(workplace, { mode: 0o755 });
process.on('exit', () => {
  execFile('rm', ['-rf', workplace]).unref();
});

export const tarballs = packed(workplace);
export const registry = await serve(tarballs.all);

/** Opens a device, computes, and sees an exception of C++ as this package's own error. */
export const program = `
const device = Device.open('cpu', { threads: 2 });
const values = await device.full([3], 1.5).read();
let code = '';
try { Device.open('cpu', { instructionSet: 'none' }); }
catch (error) { code = error instanceof BtsError ? error.code : String(error); }
console.log([...values].join(' '), code);
device.dispose();`;
export const printed = '1.5 1.5 1.5 NO_DEVICE\n';
export const esm = `import { BtsError, Device } from 'branch-train-stitch';${program}`;

interface Ran {
  stdout: string;
  stderr: string;
}

/** A program's folder. */
export class Project {
  readonly folder: string;

  private constructor(name: string) {
    this.folder = join(workplace, name);
  }

  /** One that depends on the packed package, whose binaries come from the registry here. */
  static async create(name: string, files: Record<string, string> = {}): Promise<Project> {
    const project = new Project(name);
    await mkdir(project.folder, { recursive: true });
    const manifest = {
      name: 'program',
      version: '1.0.0',
      private: true,
      type: 'module',
      dependencies: { 'branch-train-stitch': `file:${tarballs.main}` },
    };
    await project.write({
      'package.json': JSON.stringify(manifest),
      '.npmrc': `@branch-train-stitch:registry=${registry}\nfund=false\naudit=false\n`,
      'program.js': esm,
      ...files,
    });
    return project;
  }

  async write(files: Record<string, string>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(this.folder, name, '..'), { recursive: true });
      await writeFile(join(this.folder, name), text);
    }
  }

  async run(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
    const [file, ...args] = command;
    const inherited = { ...process.env };
    // What npm says to the scripts it runs is not meant for other package managers, and other versions of itself.
    for (const name of Object.keys(inherited)) if (/^npm_/i.test(name)) delete inherited[name];
    return await promisify(execFile)(file!, args, {
      cwd: this.folder,
      env: { ...inherited, CI: '1', NO_COLOR: '1', ...env },
      maxBuffer: 1 << 26,
      timeout: 20 * 60_000,
    });
  }

  /**
   * The program prints what it should, and `bts doctor` finds the binary, of the platform's package unless another origin is
   * said. `node` is the command that runs a script here.
   */
  async works(
    node: readonly string[] = [process.execPath],
    env: NodeJS.ProcessEnv = {},
    origin?: string,
  ): Promise<void> {
    assert.is((await this.run([...node, 'program.js'], env)).stdout, printed);
    const bts = 'node_modules/branch-train-stitch/dist/cli/main.js';
    await this.doctor([...node, bts], env, origin);
  }

  /** `bts`, called so, finds the binary and can use it. */
  async doctor(bts: readonly string[], env: NodeJS.ProcessEnv = {}, origin = '@branch-train-stitch/'): Promise<void> {
    const report = JSON.parse((await this.run([...bts, 'doctor', '--json'], env)).stdout);
    assert.ok(report.devices.cpu.ok, report.devices.cpu.detail);
    assert.match(report.addon.detail, origin);
  }
}
