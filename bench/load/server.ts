import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { replaceFolder } from '../../lib/base/folder.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Device } from '../../lib/tensor/device.js';
import { writeChatTemplate } from '../../test/serving/serving-fixtures.js';
import { CONFIGS, randomize, writeModel } from '../../test/support/models.js';

const MAIN = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const CONFIG = { ...CONFIGS.llama, maxPositions: 1024, eosTokens: [] };
/** What it is told to, it repeats without end. */
const TEMPLATE =
  "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if endless %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}{{ 'assistant: ' if add_generation_prompt }}";

/** `bts serve` as a process of its own, with tiny random models: 'hub', and 'generalist', of three members. */
export class LoadedServer {
  private constructor(
    readonly url: string,
    readonly port: number,
    private readonly process: ReturnType<typeof spawn>,
    /** What it said on stderr. */
    readonly errors: string[],
  ) {}

  static async start(folder: string): Promise<LoadedServer> {
    await writeModels(folder);
    const args = ['--import', TSX, MAIN, 'serve', 'generalist', 'hub', '--port', '0', '--cache-memory', '0.5'];
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const errors: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const url = /http:\/\/[\d.:]+/.exec(line)![0];
    return new LoadedServer(url, Number(new URL(url).port), child, errors);
  }

  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** MiB that the process holds. */
  async residentMiB(): Promise<number> {
    const status = await readFile(`/proc/${this.process.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024;
  }

  /** What /metrics says: how many numbers, and the sum of those with a name. */
  async metrics(): Promise<{ lines: number; sum(name: string): number }> {
    const lines = (await (await fetch(`${this.url}/metrics`)).text()).trim().split('\n');
    const sum = (name: string) =>
      lines.filter((line) => line.startsWith(name)).reduce((all, line) => all + Number(line.split(' ').at(-1)), 0);
    return { lines: lines.length, sum };
  }

  /** Its exit code. */
  async stop(): Promise<number | null> {
    const ended = once(this.process, 'exit');
    if (!this.hasEnded) {
      this.process.kill('SIGTERM');
      await ended;
    }
    return this.process.exitCode;
  }
}

async function writeModels(folder: string): Promise<void> {
  using device = Device.open('cpu', { threads: 1 });
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed, config: CONFIG });
  const [hub, code, math] = [await write('hub', 1), await write('code', 2), await write('math', 3)];
  await writeChatTemplate(hub, TEMPLATE);
  using model = await StitchedModel.create(device, { hub, experts: { code, math } });
  randomize(model, 9);
  await replaceFolder(join(folder, 'generalist'), (path) => model.write(path));
}
