/**
 * Turns PTX, as clang emits it, into C++ that runs on the emulation's fibers: what is executed is the device branch of
 * gpu.cuh, inline assembly and all. Only clang's PTX: NVIDIA's licence forbids translating the output of its own compiler to
 * another platform.
 */
import { createHash } from 'node:crypto';
import { label, register, type Scope, translate, width } from './instructions.js';

interface Kernel {
  name: string;
  parameters: string;
  attributes: string;
  body: string;
  /** Where the body begins in the file. */
  start: number;
}

/** The whole C++ file. */
export function ptxToCpp(ptx: string): string {
  // Comments go, lines stay: messages name the line of the PTX.
  const text = ptx.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' ')).replace(/\/\/[^\n]*/g, '');
  // All shared memory of these kernels is dynamic: it begins at 0.
  const shared = new Map<string, number>();
  for (const [, name] of text.matchAll(/\.extern\s+\.shared\s+(?:\.align\s+\d+\s+)?\.b8\s+([\w$]+)\[\]/g))
    shared.set(name!, 0);
  const lineOf = lineFinder(text);
  const functions = kernelsOf(text).map((kernel) => functionOf(kernel, shared, lineOf));
  return `#include "ptx_runtime.h"\nnamespace px {\n${functions.join('\n')}\n}\n`;
}

function kernelsOf(text: string): Kernel[] {
  const kernels: Kernel[] = [];
  for (const match of text.matchAll(/\.entry\s+([\w$]+)\s*\(([\s\S]*?)\)([^{]*)\{/g)) {
    const start = match.index + match[0].length;
    let end = start;
    for (let depth = 1; depth > 0; end++) {
      if (text[end] === '{') depth++;
      else if (text[end] === '}') depth--;
    }
    const [, name, parameters, attributes] = match as unknown as [string, string, string, string];
    kernels.push({ name, parameters, attributes, body: text.slice(start, end - 1), start });
  }
  return kernels;
}

/** One kernel as a function of its parameters' bytes, and its entry in the runtime's list. */
function functionOf(kernel: Kernel, shared: Map<string, number>, lineOf: (position: number) => number): string {
  const offsets: number[] = [],
    sizes: number[] = [];
  const scope: Scope = { registers: new Map(), parameters: new Map(), shared, locals: new Map() };
  let bytes = 0;
  for (const [, align, type, name, count] of kernel.parameters.matchAll(
    /\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)*(?:\.align\s+\d+\s+)?)?([\w$]+)(?:\[(\d+)\])?/g,
  )) {
    const element = width(type!) / 8,
      size = element * Number(count ?? 1),
      alignment = Number(align ?? element);
    bytes = Math.ceil(bytes / alignment) * alignment;
    scope.parameters.set(name!, bytes);
    offsets.push(bytes);
    sizes.push(size);
    bytes += size;
  }
  const declarations: string[] = [],
    code: string[] = [];
  for (const { text, position } of statementsOf(kernel.body)) {
    const line = lineOf(kernel.start + position);
    try {
      code.push(statement(text, line, scope, declarations));
    } catch (error) {
      throw new Error(`${kernel.name}: ${(error as Error).message}`);
    }
  }
  const threads = /\.maxntid\s+(\d+)\s*,\s*(\d+)\s*,\s*(\d+)/.exec(kernel.attributes)?.slice(1).map(Number) ?? [1024];
  const most = threads.reduce((product, extent) => product * extent);
  return [
    `static void K_${kernel.name}(const unsigned char* P) {`,
    ...declarations,
    ...code,
    '}',
    `static const unsigned O_${kernel.name}[] = {${offsets.join(', ')}}, S_${kernel.name}[] = {${sizes.join(', ')}};`,
    `static const Registration I_${kernel.name}({"${kernel.name}", K_${kernel.name}, ${offsets.length}, O_${kernel.name}, S_${kernel.name}, ${bytes}, ${most}, "${digestOf(kernel)}"});`,
  ].join('\n');
}

/** The same for the same kernel, whichever file of several it comes from: labels have the number of their function. */
const digestOf = ({ body }: Kernel): string =>
  createHash('sha256')
    .update(body.replace(/BB\d+_/g, 'BB_').replace(/\s+/g, ' '))
    .digest('hex');

/** Statements, braces and labels of a body, in order. */
function* statementsOf(body: string): Generator<{ text: string; position: number }> {
  const next = /\s*([{}]|[$\w]+:(?!:)|[^;]*;)/gy;
  for (let match = next.exec(body); match; match = next.exec(body)) {
    const text = match[1]!;
    yield { text, position: match.index + match[0].length - text.length };
  }
}

function statement(text: string, line: number, scope: Scope, declarations: string[]): string {
  if (text === '{' || text === '}') return text;
  if (text.endsWith(':')) return `${label(text.slice(0, -1))}: ;`;
  const body = text.slice(0, -1).trim();
  if (body === '' || /^\.(pragma|loc|file)\b/.test(body)) return '';
  const registers = /^\.reg\s+\.(\w+)\s+([\s\S]+)$/.exec(body);
  if (registers) {
    const size = width(registers[1]!);
    const names = registers[2]!.split(',').flatMap((declared) => {
      const range = /^\s*(%?\w+)<(\d+)>\s*$/.exec(declared);
      return range
        ? Array.from({ length: Number(range[2]) }, (_, k) => register(`${range[1]}${k}`))
        : [register(declared.trim())];
    });
    // Blocks in braces may each have one of the same name; none outlives its block, so they can share it.
    const added = names.filter((name) => !scope.registers.has(name));
    const other = names.find((name) => (scope.registers.get(name) ?? size) !== size);
    if (other) throw new Error(`line ${line}: ${other} is declared again, in another width`);
    for (const name of added) scope.registers.set(name, size);
    if (added.length > 0) declarations.push(`${size === 1 ? 'bool' : `u${size}`} ${added.join(', ')};`);
    return '';
  }
  const local = /^\.local\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\]$/.exec(body);
  if (local) {
    scope.locals.set(local[2]!, `LOCAL_${local[2]}`);
    declarations.push(`alignas(16) unsigned char LOCAL_${local[2]}[${local[3]}];`);
    return '';
  }
  const guarded = /^@(!?)([%\w]+)\s+([\s\S]+)$/.exec(body);
  if (guarded) return `if (${guarded[1]}${register(guarded[2]!)}) { ${translate(guarded[3]!, line, scope)}; }`;
  return `${translate(body, line, scope)};`;
}

/** Line numbers of positions. */
function lineFinder(text: string): (position: number) => number {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (position) => {
    let low = 0,
      high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= position) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
