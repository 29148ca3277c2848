import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';

/** A registry on this machine with the packages of these tarballs and no others. Returns its address. */
export async function serve(tarballs: readonly string[]): Promise<string> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '').slice(1);
    const tarball = tarballs.find((file) => path === basename(file));
    const own = tarballs.filter((file) => manifestOf(file).name === path);
    response.statusCode = tarball || own.length > 0 ? 200 : 404;
    response.setHeader('content-type', tarball ? 'application/octet-stream' : 'application/json');
    response.end(tarball ? readFileSync(tarball) : JSON.stringify(own[0] ? packument(own[0], address) : {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return address;
}

function packument(tarball: string, address: string): object {
  const manifest = manifestOf(tarball);
  const hash = (algorithm: string) => createHash(algorithm).update(readFileSync(tarball));
  const dist = {
    tarball: `${address}${basename(tarball)}`,
    integrity: `sha512-${hash('sha512').digest('base64')}`,
    shasum: hash('sha1').digest('hex'),
  };
  const { name, version } = manifest;
  // Some package managers wait with what was published just now.
  const time = { [version]: '2026-01-01T00:00:00.000Z' };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } }, time };
}

export function manifestOf(tarball: string): { name: string; version: string } {
  return JSON.parse(execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }));
}
