import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cp, mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../native/packaging/root.js';
import { shared } from '../support/devices.js';
import type { Page } from './markdown.js';

/** What programs printed, both streams as they came. */
export type Printed = string;

const tiny = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');
/** What readers have of their own. */
const BROUGHT = {
  'corpora/prose/novel.txt': tiny(1500, (i) => `Chapter ${i}: it was a dark night, and ${i * 7} stars were out.\n`),
  'corpora/code/functions.py': tiny(1500, (i) => `def f${i}(x): return x + ${i}`),
  'corpora/law/contracts.txt': tiny(1500, (i) => `Section ${i}. The lessee pays ${i * 3} before the month ends.`),
  'corpora/math.jsonl': tiny(1500, (i) => JSON.stringify({ text: `Problem: ${i} + ${i} = ? Answer: ${2 * i}` })),
};

/** The folder in which a reader installed the packed package. */
export class Installation {
  private quickstart: Promise<Printed> | undefined;

  constructor(
    readonly folder: string,
    /** The packed package. */
    private readonly tarball: string,
  ) {}

  /** Builds and packs the package, and installs it in an empty folder; undefined where npm reaches no registry. */
  static async create(place: string): Promise<Installation | undefined> {
    await promisify(execFile)('npm', ['run', 'build:ts'], { cwd: root });
    // Without what npm runs before it packs: that asks for the packages with binaries, which are compiled for releases.
    const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', place];
    const { stdout } = await promisify(execFile)('npm', pack, { cwd: root });
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
    const folder = join(place, 'reader');
    await mkdir(folder);
    const installation = new Installation(folder, join(place, filename));
    try {
      await installation.install();
    } catch (error) {
      if (/ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ECONNRESET|ENOTCACHED/.test(`${error}`)) return undefined;
      throw error;
    }
    return installation;
  }

  private async install(): Promise<void> {
    await this.run(`npm install --ignore-scripts --prefer-offline --no-audit --no-fund ${this.tarball}`);
    const installed = join(this.folder, 'node_modules', 'branch-train-stitch');
    // The addon is the one that the tests were given.
    await cp(join(root, 'build', 'Release'), join(installed, 'build', 'Release'), { recursive: true });
    for (const name of ['typescript', '@types', 'undici-types'])
      await symlink(join(root, 'node_modules', name), join(this.folder, 'node_modules', name));
    await symlink('../typescript/bin/tsc', join(this.folder, 'node_modules', '.bin', 'tsc'));
  }

  /** Runs a shell command in a folder of it, with what is installed on the path, as npx has it. */
  async run(command: string, folder = this.folder): Promise<Printed> {
    const options = { cwd: folder, env: this.environment(), maxBuffer: 1 << 26, timeout: 5 * 60_000 };
    try {
      return (await promisify(execFile)('bash', ['-e', '-c', `{ ${command}\n} 2>&1`], options)).stdout;
    } catch (error) {
      throw new Error(`${command}\n${(error as { stdout: string }).stdout}`, { cause: error });
    }
  }

  environment(): NodeJS.ProcessEnv {
    const path = `${join(this.folder, 'node_modules', '.bin')}${delimiter}${process.env.PATH}`;
    return { ...process.env, PATH: path, XDG_CACHE_HOME: join(this.folder, 'cache'), NO_COLOR: '1', FORCE_COLOR: '0' };
  }

  /** What the quickstart prints; it is run once for all guides, which go on with its models. */
  runQuickstart(): Promise<Printed> {
    this.quickstart ??= this.run('npx bts quickstart --effort 0.02');
    return this.quickstart;
  }
}

/** A reader's folder for one guide: what he brought, and the quickstart's models. */
export class Visit {
  private server: { process: ChildProcess; address: string; ended: Promise<number | null> } | undefined;

  private constructor(
    readonly installation: Installation,
    readonly page: Page,
    readonly folder: string,
  ) {}

  static folderOf(installation: Installation, { path }: Page): string {
    return join(installation.folder, path.replace(/\W/g, '-'));
  }

  static async begin(installation: Installation, page: Page): Promise<Visit> {
    const folder = Visit.folderOf(installation, page);
    for (const [name, text] of Object.entries(BROUGHT)) {
      await mkdir(join(folder, name, '..'), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    await installation.runQuickstart();
    await cp(join(installation.folder, 'quickstart'), join(folder, 'quickstart'), { recursive: true });
    await symlink('../node_modules', join(folder, 'node_modules'));
    const benchmarks = shared('data/benchmarks');
    if (await stat(benchmarks).catch(() => undefined)) await symlink(benchmarks, join(folder, 'benchmarks'));
    return new Visit(installation, page, folder);
  }

  run(command: string): Promise<Printed> {
    return this.installation.run(command, this.folder);
  }

  async has(name: string): Promise<boolean> {
    return (await stat(join(this.folder, name)).catch(() => undefined)) !== undefined;
  }

  /** Starts a server, which answers until the guide ends. */
  async serve(command: string): Promise<Printed> {
    await this.end();
    const child = spawn('bash', ['-c', `exec ${command} --port 0`], {
      cwd: this.folder,
      env: this.installation.environment(),
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    let printed = '';
    const address = await new Promise<string>((resolve, reject) => {
      const hear = (text: string) => {
        printed += text;
        const [url] = /http:\/\/[\d.]+:\d+/.exec(printed) ?? [];
        if (url) resolve(url);
      };
      child.stdout.setEncoding('utf8').on('data', hear);
      child.stderr.setEncoding('utf8').on('data', hear);
      void ended.then(() => reject(new Error(`the server ended: ${printed}`)));
    });
    this.server = { process: child, address, ended };
    return printed;
  }

  /** Asks the server that was started before. */
  async ask(command: string): Promise<Printed> {
    if (!this.server) throw new Error('no server was started before');
    return await this.run(command.replace(/localhost:\d+/, this.server.address));
  }

  /** Ends the server, as SIGTERM does; it exits with 0. */
  async end(): Promise<void> {
    if (!this.server) return;
    const { process: child, ended } = this.server;
    this.server = undefined;
    child.kill('SIGTERM');
    const status = await ended;
    if (status !== 0) throw new Error(`the server exited with ${status}`);
  }
}
