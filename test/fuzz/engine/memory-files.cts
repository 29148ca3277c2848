/**
 * Stands for `node:fs/promises` where targets are fuzzed: files in memory, so that an input takes microseconds. It has what
 * readers of checkpoints call, and fails as the system does where a file is missing.
 */
const { dirname } = require('node:path') as typeof import('node:path');

const files = new Map<string, Uint8Array>();
const folders = new Set<string>();

function find(path: string, syscall: string): Uint8Array {
  if (path.includes('\0')) throw Object.assign(new TypeError('a zero byte'), { code: 'ERR_INVALID_ARG_VALUE' });
  const content = files.get(path);
  if (content) return content;
  const code = folders.has(path) ? 'EISDIR' : 'ENOENT';
  throw Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}

module.exports = {
  mkdir: async (path: string) => {
    folders.add(path);
  },
  writeFile: async (path: string, content: Uint8Array | string) => {
    folders.add(dirname(path));
    files.set(path, Buffer.from(content));
  },
  rm: async (path: string) => {
    files.delete(path);
  },
  realpath: async (path: string) => path,
  lstat: async (path: string) => (folders.has(path) ? {} : find(path, 'lstat')),
  readFile: async (path: string, encoding: BufferEncoding) => Buffer.from(find(path, 'read')).toString(encoding),
  open: async (path: string) => {
    const content = find(path, 'open');
    return {
      stat: async () => ({ isFile: () => true, size: content.length }),
      read: async (buffer: Uint8Array, offset: number, length: number, position: number) => {
        const part = content.subarray(position, position + length);
        buffer.set(part, offset);
        return { bytesRead: part.length, buffer };
      },
      close: async () => {},
    };
  },
};
