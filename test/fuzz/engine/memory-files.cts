/**
 * Stands for `node:fs/promises` where targets are fuzzed: files in memory, so that an input takes microseconds. It has what
 * readers of checkpoints call, and fails as the system does where a file is missing.
 */
const { dirname } = require('node:path') as typeof import('node:path');

const files = new Map<string, Uint8Array>();
const folders = new Set<string>();

function find(path: string, syscall: string): Promise<Uint8Array> {
  if (path.includes('\0'))
    return Promise.reject(Object.assign(new TypeError('a zero byte'), { code: 'ERR_INVALID_ARG_VALUE' }));
  const content = files.get(path);
  if (content) return Promise.resolve(content);
  const code = folders.has(path) ? 'EISDIR' : 'ENOENT';
  return Promise.reject(Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path }));
}

module.exports = {
  mkdir: (path: string) => Promise.resolve(folders.add(path)),
  rm: (path: string) => Promise.resolve(files.delete(path)),
  realpath: (path: string) => Promise.resolve(path),
  lstat: (path: string) => (folders.has(path) ? Promise.resolve({}) : find(path, 'lstat')),
  readFile: async (path: string, encoding: BufferEncoding) => Buffer.from(await find(path, 'read')).toString(encoding),
  writeFile: (path: string, content: Uint8Array | string) => {
    folders.add(dirname(path));
    return Promise.resolve(files.set(path, Buffer.from(content)));
  },
  open: async (path: string) => {
    const content = await find(path, 'open');
    return {
      stat: () => Promise.resolve({ isFile: () => true, size: content.length }),
      read: (buffer: Uint8Array, offset: number, length: number, position: number) => {
        const part = content.subarray(position, position + length);
        buffer.set(part, offset);
        return Promise.resolve({ bytesRead: part.length, buffer });
      },
      close: () => Promise.resolve(),
    };
  },
};
