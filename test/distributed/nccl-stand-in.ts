/** A library in the place of NCCL's, for the emulated device: nccl-stand-in.c. No GPU runs it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a process needs in its environment to find it; undefined where there is no compiler. */
export function buildStandIn(): { env: Record<string, string>; remove: () => void } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'bts-nccl-'));
  const source = fileURLToPath(new URL('nccl-stand-in.c', import.meta.url));
  const { status } = spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', join(folder, 'libnccl.so.2'), source, '-lrt']);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  if (status === 0) return { env: { LD_LIBRARY_PATH: folder, BTS_COMMUNICATOR: 'nccl' }, remove };
  remove();
  return undefined;
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
