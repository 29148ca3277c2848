/** One PTX instruction as C++: over unsigned registers `R_name`, and the helpers of ptx_runtime.h. */

/** What a kernel's instructions refer to. */
export interface Scope {
  /** Widths in bits of the declared registers, by their C++ name; 1 is a predicate. */
  registers: Map<string, number>;
  /** Offsets of the kernel's parameters, of shared arrays, and C++ names of local arrays. */
  parameters: Map<string, number>;
  shared: Map<string, number>;
  locals: Map<string, string>;
}

const types = /^(pred|[bus](8|16|32|64)|f(16|32|64)|bf16(x2)?)$/;
const spaces = ['param', 'shared', 'global', 'local'] as const;
const special: Record<string, string> = {
  '%tid': 'emu::current->index',
  '%ctaid': 'emu::block_index',
  '%ntid': 'emu::block_size',
  '%nctaid': 'emu::grid_size',
};
const comparisons: Record<string, string> = {
  eq: '==',
  ne: '!=',
  lt: '<',
  le: '<=',
  gt: '>',
  ge: '>=',
  lo: '<',
  ls: '<=',
  hi: '>',
  hs: '>=',
};
enum Access {
  Read = 0,
  Write = 1,
}

/** Bits of a type. */
export function width(type: string): number {
  return type === 'pred' ? 1 : type === 'bf16x2' ? 32 : Number(/\d+$/.exec(type)![0]);
}

export const register = (name: string) => `R_${name.replace(/^%/, '').replace(/\W/g, '_')}`;
export const label = (name: string) => name.replaceAll('$', '_');

const isFloat = (type: string) => type === 'f32' || type === 'f64';

function cppType(type: string): string {
  if (type === 'pred') return 'bool';
  if (isFloat(type)) return type === 'f32' ? 'float' : 'double';
  return `${type[0] === 's' ? 's' : 'u'}${width(type)}`;
}

/** Splits at commas outside of brackets. */
function splitOperands(text: string): string[] {
  return text
    .split(/,(?![^{[(]*[}\])])/)
    .map((operand) => operand.trim())
    .filter((operand) => operand !== '');
}

const vector = (operand: string) => splitOperands(operand.replace(/^\{|\}$/g, ''));

/** The C++ of one instruction without its guard. Throws for what clang is not known to emit for these kernels. */
export function translate(text: string, line: number, scope: Scope): string {
  const [, name = '', rest = ''] = /^([a-z][\w.:]*)\s*([\s\S]*)$/.exec(text) ?? [];
  const [op = '', ...modifiers] = name.split('.');
  const operands = splitOperands(rest);
  const type = modifiers.filter((modifier) => types.test(modifier)).at(-1) ?? 'b32';
  const has = (modifier: string) => modifiers.includes(modifier);
  const place = `{"ptx", ${line}}`;

  /** An operand as an unsigned integer. */
  function bits(operand: string): string {
    if (scope.registers.has(register(operand))) return register(operand);
    const component = /^(%\w+)\.([xyz])$/.exec(operand);
    if (component && special[component[1]!]) return `${special[component[1]!]}.${component[2]}`;
    if (operand === '%laneid') return 'emu::current->lane';
    if (/^0[fF]/.test(operand)) return `0x${operand.slice(2)}u`;
    if (/^0[dD]/.test(operand)) return `0x${operand.slice(2)}ull`;
    if (/^-?(0x[\da-fA-F]+|\d+)U?$/.test(operand)) {
      const large = BigInt(operand.replace(/^-|U$/g, '')) > 0x7fffffffn;
      return `((u64)(${operand.replace('U', '')}${large ? 'ull' : 'll'}))`;
    }
    if (scope.shared.has(operand)) return `${scope.shared.get(operand)}ull`;
    if (scope.parameters.has(operand)) return `((u64)(P + ${scope.parameters.get(operand)}))`;
    if (scope.locals.has(operand)) return `((u64)${scope.locals.get(operand)})`;
    throw new Error(`PTX line ${line}: unknown operand ${operand}`);
  }
  /** An operand as a value of a type. */
  function value(operand: string, as: string): string {
    if (as === 'pred') {
      if (operand.startsWith('!')) return `!${register(operand.slice(1))}`;
      return scope.registers.has(register(operand)) ? register(operand) : String(operand !== '0');
    }
    if (as === 'f32') return `asf((u32)${bits(operand)})`;
    if (as === 'f64') return `asd((u64)${bits(operand)})`;
    return `((${cppType(as)})${bits(operand)})`;
  }
  function assign(to: string, as: string, expression: string): string {
    if (to === '_') return `(void)(${expression})`;
    const bitsOfRegister = scope.registers.get(register(to));
    if (bitsOfRegister === undefined) throw new Error(`PTX line ${line}: unknown register ${to}`);
    if (as === 'pred') return `${register(to)} = ${expression}`;
    if (isFloat(as)) return `${register(to)} = ${as === 'f32' ? 'asu' : 'asud'}(${expression})`;
    const extend = as[0] === 's' ? `(s${bitsOfRegister})` : '';
    return `${register(to)} = (u${bitsOfRegister})${extend}(${cppType(as)})(${expression})`;
  }
  /** A checked pointer for `bytes` at an address operand. */
  function pointer(operand: string, bytes: number, access: Access): string {
    const [, base = '', offset = '0'] = /^\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]$/.exec(operand) ?? [];
    const space = spaces.find((candidate) => has(candidate));
    const known = scope.registers.has(register(base));
    if (space === 'param')
      return known
        ? `((const unsigned char*)(u64)${bits(base)} + ${Number(offset)})`
        : `(P + ${scope.parameters.get(base)! + Number(offset)})`;
    const address = `(u64)(${bits(base)}) + (s64)${Number(offset)}`;
    // Addresses of shared memory have 32 bits and wrap.
    if (op === 'ldmatrix' || op === 'cp' || space === 'shared')
      return `sh(${scope.registers.get(register(base)) === 32 ? `(u32)(${address})` : address}, ${bytes}, ${line}, ${access})`;
    return `${space === 'global' ? 'gl' : 'ge'}(${address}, ${bytes}, ${line}, ${access})`;
  }
  const x = (index: number, as = type) => value(operands[index]!, as);
  const result = (expression: string, as = type) => assign(operands[0]!, as, expression);
  /** Twice as wide a type of the same kind. */
  const wide = `${type[0]}${2 * width(type)}`;
  const shift = () => `(u32)${bits(operands[2]!)}`;
  const unsigned = `u${width(type)}`;

  switch (op) {
    case 'mov': {
      const [to, from] = operands as [string, string];
      if (to.startsWith('{')) {
        const parts = vector(to),
          size = width(type) / parts.length;
        return parts
          .map((part, k) => (part === '_' ? '' : `${register(part)} = (u${size})((u64)${bits(from)} >> ${k * size})`))
          .filter((assignment) => assignment !== '')
          .join('; ');
      }
      if (from.startsWith('{')) {
        const parts = vector(from),
          size = width(type) / parts.length;
        return `${register(to)} = ${parts.map((part, k) => `(${unsigned})(u${size})${bits(part)} << ${k * size}`).join(' | ')}`;
      }
      return type === 'pred' ? result(x(1)) : `${register(to)} = (u${scope.registers.get(register(to))})${bits(from)}`;
    }
    case 'add':
    case 'sub': {
      const sign = op === 'add' ? '+' : '-';
      return result(isFloat(type) ? `${x(1)} ${sign} ${x(2)}` : `(${unsigned})${x(1)} ${sign} (${unsigned})${x(2)}`);
    }
    case 'mul':
      if (isFloat(type)) return result(`${x(1)} * ${x(2)}`);
      if (has('wide')) return result(`(${wide})${x(1)} * (${wide})${x(2)}`, wide);
      if (has('hi'))
        return result(
          width(type) === 64
            ? `((${type[0] === 's' ? '' : 'unsigned '}__int128)${x(1)} * ${x(2)}) >> 64`
            : `((${wide})${x(1)} * ${x(2)}) >> 32`,
        );
      return result(`(u64)${x(1)} * (u64)${x(2)}`);
    case 'mad':
      if (has('wide')) return result(`(${wide})${x(1)} * ${x(2)} + ${x(3, wide)}`, wide);
      return result(`(u64)${x(1)} * (u64)${x(2)} + (u64)${x(3)}`);
    case 'fma':
      return result(`fma${type === 'f32' ? 'f' : ''}(${x(1)}, ${x(2)}, ${x(3)})`);
    case 'div':
      return result(isFloat(type) ? `${x(1)} / ${x(2)}` : `${x(2)} ? ${x(1)} / ${x(2)} : (${cppType(type)})-1`);
    case 'rem':
      return result(`${x(2)} ? ${x(1)} % ${x(2)} : ${x(1)}`);
    case 'min':
    case 'max':
      if (type === 'f32') return result(`p${op}(${x(1)}, ${x(2)})`);
      return result(`(${x(1)} ${op === 'min' ? '<' : '>'} ${x(2)} ? ${x(1)} : ${x(2)})`);
    case 'neg':
      return result(isFloat(type) ? `-${x(1)}` : `0 - (${unsigned})${x(1)}`);
    case 'abs':
      return result(isFloat(type) ? `std::fabs(${x(1)})` : `(${x(1)} < 0 ? -${x(1)} : ${x(1)})`);
    case 'and':
    case 'or':
    case 'xor':
      return result(`${x(1)} ${{ and: '&', or: '|', xor: '^' }[op]} ${x(2)}`);
    case 'not':
      return result(type === 'pred' ? `!${x(1)}` : `~${x(1)}`);
    case 'shl':
      return result(`shl<${unsigned}>(${x(1)}, ${shift()})`);
    case 'shr':
      return result(`shr<${type[0] === 's' ? 's' : 'u'}${width(type)}>(${x(1)}, ${shift()})`);
    case 'shf': {
      const distance = has('wrap')
        ? `(${bits(operands[3]!)} & 31)`
        : `(${bits(operands[3]!)} > 32 ? 32 : ${bits(operands[3]!)})`;
      const both = `((u64)${x(2, 'b32')} << 32 | ${x(1, 'b32')})`;
      return result(has('l') ? `(u32)((${both} << ${distance}) >> 32)` : `(u32)(${both} >> ${distance})`);
    }
    case 'bfe':
      return result(`bfe((u64)${x(1)}, ${width(type)}, ${shift()}, (u32)${bits(operands[3]!)})`);
    case 'prmt':
      return result(`prmt(${x(1)}, ${x(2)}, ${x(3)})`);
    case 'setp': {
      const how = modifiers[0]!,
        a = x(1),
        b = x(2);
      // Unordered comparisons (leu, ...) hold where an operand is NaN; `ne` of floats does not.
      if (isFloat(type) && how.length === 3)
        return result(`(${a} != ${a} || ${b} != ${b} || ${a} ${comparisons[how.slice(0, 2)]} ${b})`, 'pred');
      if (isFloat(type) && how === 'ne') return result(`(${a} < ${b} || ${a} > ${b})`, 'pred');
      if (how === 'nan' || how === 'num')
        return result(`${how === 'num' ? '!' : ''}(${a} != ${a} || ${b} != ${b})`, 'pred');
      return result(`(${a} ${comparisons[how]} ${b})`, 'pred');
    }
    case 'selp':
      return result(`${x(3, 'pred')} ? ${x(1)} : ${x(2)}`);
    case 'cvta':
      if (!has('shared')) return result(bits(operands[1]!), 'u64');
      return result(`(u64)${bits(operands[1]!)} ${has('to') ? '-' : '+'} (u64)emu::dynamic_shared`, 'u64');
    case 'cvt': {
      const [to, from] = modifiers.filter((modifier) => types.test(modifier)) as [string, string];
      if (to === 'bf16x2') return `${register(operands[0]!)} = (u32)f2bf(${x(1, 'f32')}) << 16 | f2bf(${x(2, 'f32')})`;
      if (to === 'bf16') return `${register(operands[0]!)} = f2bf(${x(1, 'f32')})`;
      if (to === 'f16') return `${register(operands[0]!)} = f2h(${x(1, 'f32')})`;
      if (from === 'f16') return result(`h2f((u16)${bits(operands[1]!)})`, to);
      if (isFloat(from) && !isFloat(to))
        return result(`cvtf<${cppType(to)}>(std::${has('rni') ? 'nearbyint' : 'trunc'}(${x(1, from)}))`, to);
      return result(x(1, from), to);
    }
    case 'rcp':
      return result(`1 / ${x(1)}`);
    case 'sqrt':
      return result(`std::sqrt(${x(1)})`);
    case 'ex2':
      return result(`exp2f(${x(1)})`);
    case 'lg2':
      return result(`log2f(${x(1)})`);
    case 'ld':
    case 'st': {
      const store = op === 'st',
        size = width(type) / 8;
      const count = Number(modifiers.find((modifier) => /^v[248]$/.test(modifier))?.slice(1) ?? 1);
      const parts = count > 1 ? vector(operands[store ? 1 : 0]!) : [operands[store ? 1 : 0]!];
      const at = pointer(operands[store ? 0 : 1]!, size * count, store ? Access.Write : Access.Read);
      const moves = parts.map((part, k) =>
        store
          ? `st<${unsigned}>(p_ + ${k * size}, (${unsigned})${bits(part)})`
          : isFloat(type)
            ? `${register(part)} = ld<${unsigned}>(p_ + ${k * size})`
            : assign(part, type, `ld<${cppType(type)}>(p_ + ${k * size})`),
      );
      return `{ ${store ? '' : 'const '}unsigned char* p_ = ${at}; ${moves.join('; ')}; }`;
    }
    case 'bra':
      return `goto ${label(operands[0]!)}`;
    case 'ret':
    case 'exit':
      return 'return';
    case 'bar':
    case 'barrier':
      if (has('warp'))
        return `emu::warp_collective((u32)${bits(operands[0]!)}, emu::Wait::SyncWarp, nullptr, nullptr, ${place})`;
      return `emu::sync_threads(${place})`;
    case 'shfl': {
      const [to = '', valid] = operands[0]!.split('|');
      const mode = ['up', 'down', 'bfly', 'idx'].indexOf(modifiers[1]!);
      const [, from, lane, clamp, mask] = operands.map((operand, index) => (index === 0 ? '' : bits(operand)));
      return `${register(to)} = shfl(${mode}, ${from}, (u32)${lane}, (u32)${clamp}, (u32)${mask}, ${valid ? `&${register(valid)}` : 'nullptr'}, ${line})`;
    }
    case 'mma': {
      if (name !== 'mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32') break;
      const [d, a, b, c] = operands.map(vector) as [string[], string[], string[], string[]];
      const inputs = [c.map((part) => value(part, 'f32')), a.map(register), b.map(register)].map((list) =>
        list.join(', '),
      );
      return (
        `{ float d_[4] = {${inputs[0]}}; u32 a_[4] = {${inputs[1]}}, b_[2] = {${inputs[2]}}; emu::Mma x_{d_, a_, b_}; ` +
        `emu::warp_collective(~0u, emu::Wait::Mma, &x_, emu::run_mma_m16n8k16_bf16, ${place}); ` +
        `${d.map((part, k) => `${register(part)} = asu(d_[${k}])`).join('; ')}; }`
      );
    }
    case 'ldmatrix': {
      const parts = vector(operands[0]!);
      return (
        `{ u32 r_[4]; emu::LoadMatrix x_{${pointer(operands[1]!, 16, Access.Read)}, r_, ${parts.length}, ${has('trans')}}; ` +
        `emu::warp_collective(~0u, emu::Wait::LoadMatrix, &x_, emu::run_load_matrix, ${place}); ` +
        `${parts.map((part, k) => `${register(part)} = r_[${k}]`).join('; ')}; }`
      );
    }
    case 'cp': {
      if (has('commit_group')) return `emu::cp_commit(${place})`;
      if (has('wait_group')) return `emu::cp_wait((unsigned)${bits(operands[0]!)})`;
      const [to, from, size, read] = operands as [string, string, string, string];
      const [, base = '', offset = '0'] = /^\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]$/.exec(from) ?? [];
      return (
        `{ u32 n_ = ${read ? `(u32)${bits(read)}` : size}; emu::cp_async(${pointer(to, Number(size), Access.Write)}, ` +
        `copy_source((u64)${bits(base)} + ${Number(offset)}, n_, ${line}), ${size}, n_, ${place}); }`
      );
    }
  }
  throw new Error(`PTX line ${line}: no translation of '${text.replace(/\s+/g, ' ')}'`);
}
