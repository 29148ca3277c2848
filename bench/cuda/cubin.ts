/** What nvcc's output says about kernels: registers, spills and instructions, without any of NVIDIA's tools but nvcc. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { withIncludes } from '../../test/cuda/build.js';

const run = promisify(execFile);

export interface KernelFacts {
  /** Demangled and shortened: name and template arguments. */
  kernel: string;
  registers: number;
  /** Static shared memory. Nearly all kernels take theirs dynamically, see the report's own column. */
  staticSharedBytes: number;
  /** Bytes that did not fit the registers, stores and loads. */
  spillBytes: number;
  /** Whether ptxas has each product of four warps wait for the one before it. */
  serialized: boolean;
  /** HMMA: tensor cores. */
  tensor: number;
  /** HGMMA: Hopper's, of four warps together. */
  warpgroupTensor: number;
  /** UTMALDG: copies of whole tiles. */
  boxCopies: number;
  /** LDGSTS: asynchronous copies to shared memory. */
  asynchronousCopies: number;
  /** LDSM: ldmatrix. */
  matrixLoads: number;
  /** LDL and STL: local memory. */
  local: number;
}

/**
 * Low 12 bits of a 16-byte instruction word, the same from sm_80 to sm_120. A kernel that lost its tensor cores and an
 * opcode that moved look alike: none are counted, and the report fails.
 */
type Counted = 'tensor' | 'warpgroupTensor' | 'boxCopies' | 'asynchronousCopies' | 'matrixLoads' | 'local';
const opcodes: Record<number, Counted> = {
  572: 'tensor',
  2544: 'warpgroupTensor',
  3568: 'warpgroupTensor', // with a left operand in registers
  1460: 'boxCopies',
  4014: 'asynchronousCopies',
  2107: 'matrixLoads',
  903: 'local',
  2435: 'local',
};

export interface Compilation {
  /** The CUDA file. */
  source: string;
  /** `80` for sm_80, `90a` for what Hopper alone has. */
  arch: string;
  /** Defines and include folders. */
  flags: string[];
}

/**
 * Compiles one CUDA file for one architecture and reads the result. What nvcc made stays in `folder` until the file, one
 * of those that it includes, the flags or the compiler change.
 */
export async function compileKernels(nvcc: Nvcc, job: Compilation, folder: string): Promise<KernelFacts[]> {
  const { source, arch, flags } = job;
  const command = [
    '-std=c++20',
    '--expt-relaxed-constexpr',
    '-O3',
    `-arch=sm_${arch}`,
    '-cubin',
    '-Xptxas',
    '-v',
    ...flags,
  ];
  const key = digest(source, [nvcc.version, ...command]);
  const cubin = join(folder, `${basename(source, '.cu')}.sm_${arch}.${key}.cubin`);
  if (!existsSync(`${cubin}.log`)) {
    const { stderr } = await run(nvcc.path, [...command, '-o', cubin, source], { maxBuffer: 1 << 26 });
    writeFileSync(`${cubin}.log`, stderr);
  }
  const log = readFileSync(`${cubin}.log`, 'utf8'),
    counts = instructions(readFileSync(cubin));
  const names = await demangle([...counts.keys()]);
  return [...counts].map(([mangled, count], index) => ({
    kernel: names[index]!,
    ...aboutKernel(log, mangled),
    ...count,
  }));
}

export interface Nvcc {
  path: string;
  version: string;
}

/** nvcc from PATH or where NVIDIA installs it. Throws where there is none. */
export async function findNvcc(): Promise<Nvcc> {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/cuda/bin'];
  const path = folders.map((folder) => join(folder, 'nvcc')).find((file) => existsSync(file));
  if (!path) throw new Error('nvcc is neither on PATH nor in /usr/local/cuda/bin; --roofline does without it');
  return { path, version: (await run(path, ['--version'])).stdout };
}

/** Of a file, of what it includes from this project, and of what else the result depends on. */
function digest(source: string, rest: string[]): string {
  const hash = createHash('sha256').update(rest.join('\n'));
  // nvcc does not see the emulation.
  for (const file of withIncludes(source).filter((path) => !path.includes('/emulation/')))
    hash.update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}

/** ptxas's lines on a kernel. */
function aboutKernel(log: string, mangled: string) {
  const from = log.indexOf(`Compiling entry function '${mangled}'`);
  if (from < 0) throw new Error(`ptxas says nothing about ${mangled}`);
  const end = log.indexOf('Compiling entry function', from + 1);
  const lines = log.slice(from, end < 0 ? undefined : end);
  const number = (pattern: RegExp) => Number(pattern.exec(lines)?.[1] ?? 0);
  return {
    registers: number(/Used (\d+) registers/),
    staticSharedBytes: number(/(\d+) bytes smem/),
    spillBytes: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
    serialized: log.split('\n').some((line) => line.includes('are serialized') && line.includes(`'${mangled}'`)),
  };
}

/** Instructions of each kernel of a cubin, an ELF file whose .text sections are the kernels. */
function instructions(file: Buffer) {
  const sectionsAt = Number(file.readBigUInt64LE(0x28));
  const count = file.readUInt16LE(0x3c),
    namesIndex = file.readUInt16LE(0x3e);
  const section = (index: number) => {
    const at = sectionsAt + index * 64;
    return {
      name: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 24)),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  };
  const names = section(namesIndex).offset;
  const kernels = new Map<string, Pick<KernelFacts, Counted>>();
  for (let index = 0; index < count; index++) {
    const { name, offset, size } = section(index);
    const text = file.toString('latin1', names + name, file.indexOf(0, names + name));
    if (!text.startsWith('.text.')) continue;
    const found = {
      tensor: 0,
      warpgroupTensor: 0,
      boxCopies: 0,
      asynchronousCopies: 0,
      matrixLoads: 0,
      local: 0,
    };
    for (let at = offset; at + 16 <= offset + size; at += 16) {
      const kind = opcodes[file.readUInt16LE(at) & 0xfff];
      if (kind) found[kind]++;
    }
    kernels.set(text.slice('.text.'.length), found);
  }
  return kernels;
}

async function demangle(names: string[]): Promise<string[]> {
  if (names.length === 0) return []; // c++filt would wait for some on stdin
  let lines = names;
  try {
    const { stdout } = await run('c++filt', names);
    lines = stdout.trim().split('\n');
  } catch {
    // Without binutils the names stay as they are.
  }
  return lines.map((line) => shorten(line));
}

/** `void bts::cuda::(anonymous namespace)::gemm_kernel<...>(...)` without return type, namespaces and parameters. */
function shorten(name: string): string {
  const plain = name
    .replaceAll('(anonymous namespace)::', '')
    .replace(/bts::cuda::(with_\w+::)?/g, '')
    .replaceAll('bts::BFloat16', 'bf16')
    .replaceAll('(Depth)0', 'Inner')
    .replaceAll('(Depth)1', 'Outer')
    .replace(/^void /, '');
  let depth = 0;
  for (let at = 0; at < plain.length; at++) {
    if (plain[at] === '<') depth++;
    else if (plain[at] === '>') depth--;
    else if (plain[at] === '(' && depth === 0) return plain.slice(0, at);
  }
  return plain;
}
