import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { readSafetensors, readTensor } from '../../lib/checkpoint/safetensors.js';
import { DTYPE_BITS, type Dtype, parseHeader } from '../../lib/checkpoint/safetensors-header.js';
import { type TensorSource, writeSafetensors } from '../../lib/checkpoint/safetensors-writer.js';
import { readCheckpoint, writeCheckpoint } from '../../lib/checkpoint/shards.js';
import { fails, inFolder } from '../data/data-fixtures.js';
import { shared } from '../support/devices.js';
import { safetensors, tensor } from './checkpoint-fixtures.js';

/** A tensor of a header, valid unless told otherwise. */
function field(name: string, rest = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'): string {
  return `"${name}":{${rest}}`;
}
const GOOD = `{${field('a')}}`;
const withShape = (shape: string) => `{${field('a', `"dtype":"F32","shape":${shape},"data_offsets":[0,8]`)}}`;
const withOffsets = (offsets: string) => `{${field('a', `"dtype":"F32","shape":[2],"data_offsets":${offsets}`)}}`;
const withDtype = (dtype: string) => `{${field('a', `"dtype":${dtype},"shape":[2],"data_offsets":[0,8]`)}}`;
const two = (first: string, second: string) =>
  `{${field('a', `"dtype":"F32","shape":[2],"data_offsets":${first}`)},` +
  `${field('b', `"dtype":"F32","shape":[2],"data_offsets":${second}`)}}`;

const HOSTILE: [what: string, file: Buffer, message: RegExp][] = [
  ['an empty file', Buffer.alloc(0), /0 bytes, fewer than the 8/],
  ['half a header length', Buffer.alloc(5), /5 bytes, fewer than the 8/],
  ['a header longer than the file', safetensors(GOOD, 8, 1000), /claims a header of 1000 bytes, but the file has/],
  ['a header over the limit', safetensors(GOOD, 8, 100_000_001), /100000001 bytes, the limit is/],
  ['a header of 2^64 - 1 bytes', safetensors(GOOD, 8, 0xffffffffffffffffn), /18446744073709551615 bytes, the limit is/],
  ['no header', safetensors('', 8), /does not begin with '{'/],
  ['a header that is an array', safetensors(`[${GOOD}]`, 8), /does not begin with '{'/],
  ['white space before the brace', safetensors(` ${GOOD}`, 8), /does not begin with '{'/],
  ['a byte order mark', safetensors(`\ufeff${GOOD}`, 8), /does not begin with '{'/],
  ['invalid UTF-8', safetensors(Buffer.from([0x7b, 0x22, 0xff, 0x22]), 8), /not UTF-8/],
  ['half a header', safetensors(GOOD.slice(0, -1), 8), /expected '}', found the end/],
  ['a single brace', safetensors('{', 0), /expected a string, found the end/],
  ['text after the header', safetensors(`${GOOD}{}`, 8), /expected the end/],
  ['a zero byte after the header', safetensors(`${GOOD}\0`, 8), /expected the end/],
  ['a trailing comma', safetensors(`{${field('a')},}`, 8), /expected a string/],
  ['a comment', safetensors(`{/**/${field('a')}}`, 8), /expected a string/],
  ['an unquoted name', safetensors('{a:{}}', 0), /expected a string/],
  ['an unknown escape', safetensors(GOOD.replace('"a"', '"\\x61"'), 8), /malformed string/],
  ['a line break in a name', safetensors(GOOD.replace('"a"', '"\n"'), 8), /malformed string/],
  ['half a surrogate pair', safetensors(GOOD.replace('"a"', '"\\ud83d"'), 8), /malformed string/],
  ['a name without end', safetensors('{"a', 0), /malformed string/],
  ['brackets ten thousand deep', safetensors(`{"a":${'['.repeat(10_000)}`, 0), /expected '{'/],
  ['a name twice', safetensors(`{${field('a')},${field('a')}}`, 8), /"a" appears twice/],
  ['a name twice, once escaped', safetensors(`{${field('a')},${field('\\u0061')}}`, 8), /"a" appears twice/],
  ['a field twice', safetensors(GOOD.replace('"dtype"', '"shape":[2],"dtype"'), 8), /unknown or second field "shape"/],
  ['an unknown field', safetensors(GOOD.replace('"dtype"', '"x":1,"dtype"'), 8), /unknown or second field "x"/],
  ['an inherited field', safetensors(GOOD.replace('"dtype"', '"toString":1,"dtype"'), 8), /field "toString"/],
  ['no dtype', safetensors(`{${field('a', '"shape":[2],"data_offsets":[0,8]')}}`, 8), /lacks dtype/],
  ['no shape', safetensors(`{${field('a', '"dtype":"F32","data_offsets":[0,8]')}}`, 8), /lacks dtype, shape/],
  ['no offsets', safetensors(`{${field('a', '"dtype":"F32","shape":[2]')}}`, 8), /lacks .* data_offsets/],
  ['a tensor that is empty', safetensors('{"a":{}}', 0), /expected a string/],
  ['a tensor that is null', safetensors('{"a":null}', 0), /expected '{'/],
  ['a tensor that is an array', safetensors('{"a":["F32",[2],[0,8]]}', 8), /expected '{'/],
  ['an unknown dtype', safetensors(withDtype('"F12"'), 8), /unknown dtype "F12"/],
  ['an inherited dtype', safetensors(withDtype('"constructor"'), 8), /unknown dtype "constructor"/],
  ['a dtype in small letters', safetensors(withDtype('"f32"'), 8), /unknown dtype "f32"/],
  ['a dtype that is a number', safetensors(withDtype('32'), 8), /expected a string/],
  ['a negative dimension', safetensors(withShape('[-2]'), 8), /plain non-negative integer/],
  ['minus zero', safetensors(withShape('[-0]'), 8), /plain non-negative integer/],
  ['a dimension with a fraction', safetensors(withShape('[2.0]'), 8), /plain non-negative integer/],
  ['a dimension with an exponent', safetensors(withShape('[2e0]'), 8), /plain non-negative integer/],
  ['a dimension with a leading zero', safetensors(withShape('[02]'), 8), /plain non-negative integer/],
  ['a dimension in hexadecimal', safetensors(withShape('[0x2]'), 8), /plain non-negative integer/],
  ['a dimension that is a string', safetensors(withShape('["2"]'), 8), /plain non-negative integer/],
  ['a dimension that is null', safetensors(withShape('[null]'), 8), /plain non-negative integer/],
  ['a shape that is a number', safetensors(withShape('2'), 8), /expected '\['/],
  ['a dimension of 2^53', safetensors(withShape('[9007199254740992]'), 8), /integer below 2\^53/],
  ['a dimension of 2^64', safetensors(withShape('[18446744073709551616]'), 8), /integer below 2\^53/],
  ['dimensions whose product overflows', safetensors(withShape('[4294967296,4294967296]'), 8), /too large/],
  ['bits that overflow', safetensors(withShape('[9007199254740991]'), 8), /too large/],
  ['an overflow hidden by a zero', safetensors(withShape('[4294967296,4294967296,0]'), 8), /too large/],
  ['a thousand dimensions', safetensors(withShape(`[${'1,'.repeat(999)}1]`), 8), /at most 64 numbers/],
  ['offsets with a sign', safetensors(withOffsets('[0,+8]'), 8), /plain non-negative integer/],
  ['offsets with an exponent', safetensors(withOffsets('[0,8e0]'), 8), /plain non-negative integer/],
  ['a single offset', safetensors(withOffsets('[0]'), 8), /1 data_offsets, expected \[begin, end\]/],
  ['three offsets', safetensors(withOffsets('[0,4,8]'), 8), /at most 2 numbers/],
  ['offsets in the wrong order', safetensors(withOffsets('[8,0]'), 8), /leaves a hole/],
  ['fewer bytes than the shape needs', safetensors(withOffsets('[0,4]'), 4), /needs 8 bytes, not \[0, 4\]/],
  ['more bytes than the shape needs', safetensors(withOffsets('[0,12]'), 12), /needs 8 bytes, not \[0, 12\]/],
  [
    'half a byte',
    safetensors(`{${field('a', '"dtype":"F4","shape":[3],"data_offsets":[0,2]')}}`, 2),
    /no whole number/,
  ],
  ['a hole at the start', safetensors(withOffsets('[4,12]'), 12), /leaves a hole after what ends at 0/],
  ['a hole between tensors', safetensors(two('[0,8]', '[12,20]'), 20), /"b".* leaves a hole after what ends at 8/],
  ['tensors that overlap', safetensors(two('[0,8]', '[4,12]'), 12), /"b".* overlaps what ends at 8/],
  ['two tensors in one place', safetensors(two('[0,8]', '[0,8]'), 8), /overlaps/],
  ['data cut short', safetensors(GOOD, 7), /end at byte 8 of 7 bytes of data. The file is cut short/],
  ['trailing data', safetensors(GOOD, 9), /end at byte 8 of 9 bytes of data. Bytes trail/],
  ['data without tensors', safetensors('{}', 1), /end at byte 0 of 1/],
  ['metadata that is null', safetensors('{"__metadata__":null}', 0), /expected '{'/],
  ['metadata that is a number', safetensors('{"__metadata__":{"a":1}}', 0), /expected a string/],
  ['metadata that is nested', safetensors('{"__metadata__":{"a":{}}}', 0), /expected a string/],
  ['a metadata key twice', safetensors('{"__metadata__":{"a":"","a":""}}', 0), /metadata "a" appears twice/],
  ['metadata twice', safetensors('{"__metadata__":{},"__metadata__":{}}', 0), /"__metadata__" appears twice/],
  ['metadata in the shape of a tensor', safetensors(GOOD.replace('"a"', '"__metadata__"'), 8), /expected a string/],
  ['a very long name', safetensors(`{"${'x'.repeat(1e6)}":1}`, 0), /expected '{'/],
];

for (const [what, bytes, message] of HOSTILE) {
  test(`refuses ${what}`, () =>
    inFolder({ 'x.safetensors': bytes }, async (folder) => {
      const path = join(folder, 'x.safetensors');
      await fails(() => readSafetensors(path), 'BAD_SAFETENSORS', message);
      await fails(() => readSafetensors(path), 'BAD_SAFETENSORS', /^.{1,600}$/s);
    }));
}

const ODD: [what: string, file: Buffer, tensors: string[]][] = [
  ['a file without tensors', safetensors('{}', 0), []],
  [
    'white space everywhere',
    safetensors(`{ \t\r\n"a" : { "dtype":"F32",\n"shape":[ 2 ],"data_offsets":[0 , 8]}} \n`, 8),
    ['a'],
  ],
  ['tensors listed in another order than stored', safetensors(two('[8,16]', '[0,8]'), 16), ['b', 'a']],
  ['a scalar', safetensors(`{${field('a', '"dtype":"F64","shape":[],"data_offsets":[0,8]')}}`, 8), ['a']],
  ['an empty tensor', safetensors(`{${field('a', '"dtype":"F32","shape":[5,0],"data_offsets":[0,0]')}}`, 0), ['a']],
  [
    'elements of four bits',
    safetensors(`{${field('a', '"dtype":"F4","shape":[3,2],"data_offsets":[0,3]')}}`, 3),
    ['a'],
  ],
  [
    'elements of six bits',
    safetensors(`{${field('a', '"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]')}}`, 3),
    ['a'],
  ],
  ['names that are escaped', safetensors(GOOD.replace('"a"', '"\\ud83d\\ude00\\"\\u0000"'), 8), ['😀"\0']],
  ['names that objects inherit', safetensors(GOOD.replace('"a"', '"__proto__"'), 8), ['__proto__']],
  ['an empty name', safetensors(GOOD.replace('"a"', '""'), 8), ['']],
];

for (const [what, bytes, names] of ODD) {
  test(`accepts ${what}`, () =>
    inFolder({ 'x.safetensors': bytes }, async (folder) => {
      const { tensors } = await readSafetensors(join(folder, 'x.safetensors'));
      assert.equal([...tensors.keys()], names);
    }));
}

test('whatever single change is made to a header, what is accepted covers every byte exactly once', async () => {
  const header = `{"__metadata__":{"format":"pt"},${two('[0,8]', '[8,16]').slice(1)}`;
  const pieces = ['', '0', '1', '8', '-', '.', 'e', '"', '\\', ',', ':', '{', '}', '[', ']', ' ', 'F16', 'b', '\0'];
  let accepted = 0;
  for (let at = 0; at < header.length; at++) {
    for (const piece of pieces) {
      for (const text of [
        header.slice(0, at) + piece + header.slice(at),
        header.slice(0, at) + piece + header.slice(at + 1),
      ]) {
        const parsed = await parseHeader(text, 16, 'x').catch((error: unknown) => {
          assert.is((error as BtsError).code, 'BAD_SAFETENSORS', `${text}: ${error}`);
        });
        if (!parsed) continue;
        accepted++;
        assert.equal(
          parsed.tensors.map(({ begin, end }) => [begin, end]),
          [
            [0, 8],
            [8, 16],
          ],
          text,
        );
      }
    }
  }
  assert.ok(accepted > 100, `${accepted} accepted`);
});

test('refuses what is no file', () =>
  inFolder({}, async (folder) => {
    await fails(() => readSafetensors(join(folder, 'none')), 'FILE_NOT_FOUND', /none' does not exist/);
    await fails(() => readSafetensors(folder), 'FILE_IO', /not a regular file/);
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    await fails(() => readSafetensors(join(folder, 'pipe')), 'FILE_IO', /not a regular file/);
  }));

test('reads back what it wrote, in every dtype', () =>
  inFolder({}, async (folder) => {
    const path = join(folder, 'x.safetensors');
    const dtypes = Object.keys(DTYPE_BITS) as Dtype[];
    const sources = dtypes.map((dtype, i) => tensor(`t.${dtype}`, dtype, [2, 4], i));
    await writeSafetensors(path, [...sources, tensor('empty', 'BF16', [0])], { format: 'pt', note: 'é"\n' });

    const file = await readSafetensors(path);
    assert.equal(
      [...file.metadata],
      [
        ['format', 'pt'],
        ['note', 'é"\n'],
      ],
    );
    assert.is(file.tensors.size, dtypes.length + 1);
    for (const { name, dtype, data } of sources) {
      const entry = file.tensors.get(name)!;
      assert.equal([entry.dtype, entry.shape, entry.path], [dtype, [2, 4], path]);
      assert.equal(await readTensor(entry), await data());
    }
    assert.is((await readTensor(file.tensors.get('empty')!)).length, 0);
  }));

test('writes byte for byte what the reference writes', () =>
  inFolder({}, async (folder) => {
    const path = join(folder, 'x.safetensors');
    const sources = [
      tensor('b', 'F16', [1], 1),
      tensor('é', 'F32', [1], 2),
      tensor('a', 'F32', [1, 1], 3),
      tensor('0', 'I64', [], 4),
    ];
    await writeSafetensors(path, sources);
    const header =
      '{"__metadata__":{"format":"pt"},"0":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' +
      '"a":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},"é":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},' +
      '"b":{"dtype":"F16","shape":[1],"data_offsets":[16,18]}}     ';
    const bytes = await readFile(path);
    assert.is(bytes.subarray(8, -18).toString(), header);
    assert.is(bytes.readBigUInt64LE(), BigInt(Buffer.byteLength(header)));
    assert.is(Buffer.byteLength(header) % 8, 0);
    assert.equal([...bytes.subarray(-18)], [...Array(8).fill(4), ...Array(4).fill(3), ...Array(4).fill(2), 1, 1]);
  }));

test("npm's safetensors reads a plain file of ours", () =>
  inFolder({}, async (folder) => {
    const path = join(folder, 'x.safetensors');
    await writeSafetensors(path, [tensor('a', 'BF16', [3], 5), tensor('b', 'F32', [2, 2], 6)], {});
    const { SafeTensor } = createRequire(import.meta.url)('safetensors');
    const file = new SafeTensor(new Uint8Array(await readFile(path)));
    assert.equal([file.metadata.get('a').dtype, file.metadata.get('a').shape], ['BF16', [3]]);
    assert.equal([...file.getTensor('a')], Array(6).fill(5));
    assert.equal([...file.getTensor('b')], Array(16).fill(6));
  }));

test('asks for one tensor at a time and only when its turn comes', () =>
  inFolder({}, async (folder) => {
    const log: string[] = [];
    const logged = (name: string) => ({
      ...tensor(name, 'U8', [1]),
      data: async () => {
        log.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        log.push(`${name} ends`);
        return new Uint8Array(1);
      },
    });
    await writeSafetensors(join(folder, 'x'), [logged('a'), logged('b')]);
    assert.equal(log, ['a begins', 'a ends', 'b begins', 'b ends']);
  }));

test('a tensor that cannot be written leaves no file behind', () =>
  inFolder({}, async (folder) => {
    const write = (sources: TensorSource[]) => writeSafetensors(join(folder, 'x'), sources);
    const short = { ...tensor('a', 'F32', [2]), data: () => Promise.resolve(new Uint8Array(7)) };
    const broken = {
      ...tensor('a', 'F32', [2]),
      data: () => Promise.reject(new BtsError('OUT_OF_MEMORY', 'none left')),
    };
    await fails(() => write([tensor('a', 'F32', [1]), tensor('a', 'F16', [1])]), 'BAD_OPTION', /called "a": .* taken/);
    await fails(() => write([tensor('__metadata__', 'F32', [1])]), 'BAD_OPTION', /called "__metadata__": .* reserved/);
    await fails(() => write([tensor('\ud83d', 'F32', [1])]), 'BAD_OPTION', /malformed/);
    await fails(() => write([tensor('a', 'F4', [3])]), 'BAD_OPTION', /"a" cannot be F4 \[3\]/);
    await fails(() => write([{ ...short, shape: [1.5] }]), 'BAD_OPTION', /cannot be F32 \[1.5\]/);
    await fails(() => write([{ ...short, shape: [-2] }]), 'BAD_OPTION', /cannot be F32 \[-2\]/);
    await fails(() => write([short]), 'BAD_OPTION', /"a" needs 8 bytes, got 7/);
    await fails(() => write([broken]), 'OUT_OF_MEMORY', /none left/);
    assert.equal(await readdir(folder), []);
  }));

test('never writes over a file', () =>
  inFolder({ x: 'precious' }, async (folder) => {
    await fails(() => writeSafetensors(join(folder, 'x'), [tensor('a', 'U8', [1])]), 'FILE_IO', /EEXIST/);
    assert.is(await readFile(join(folder, 'x'), 'utf8'), 'precious');
  }));

test('a file that is cut short between its header and its tensors is noticed', () =>
  inFolder({ x: safetensors(GOOD, 8) }, async (folder) => {
    const { tensors } = await readSafetensors(join(folder, 'x'));
    await truncate(join(folder, 'x'), safetensors(GOOD, 8).length - 3);
    await fails(() => readTensor(tensors.get('a')!), 'BAD_SAFETENSORS', /"a" breaks off after 5 of 8 bytes/);
    await truncate(join(folder, 'x'), 4);
    await fails(() => readTensor(tensors.get('a')!), 'BAD_SAFETENSORS', /breaks off after 0 of 8 bytes/);
  }));

const FIVE = ['a', 'b', 'c', 'd', 'e'].map((name, i) => tensor(name, 'F32', [i === 1 ? 20 : 2], i));

test('a small checkpoint is one file', () =>
  inFolder({}, async (folder) => {
    await writeCheckpoint(folder, FIVE);
    assert.equal(await readdir(folder), ['model.safetensors']);
    assert.equal([...(await readCheckpoint(folder)).keys()].sort(), ['a', 'b', 'c', 'd', 'e']);
  }));

test('a large checkpoint is cut into shards where Hugging Face cuts it', () =>
  inFolder({}, async (folder) => {
    await writeCheckpoint(folder, FIVE, { maxShardBytes: 24 });
    const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8'));
    const shard = (n: number) => `model-0000${n}-of-00003.safetensors`;
    assert.equal(index, {
      metadata: { total_size: 112 },
      weight_map: { a: shard(2), b: shard(1), c: shard(2), d: shard(2), e: shard(3) },
    });
    const tensors = await readCheckpoint(folder);
    for (const { name, data } of FIVE) assert.equal(await readTensor(tensors.get(name)!), await data());
  }));

test('a checkpoint must be writable as described', () =>
  inFolder({}, async (folder) => {
    const twins = [tensor('a', 'F32', [9]), tensor('a', 'F32', [9])];
    await fails(() => writeCheckpoint(folder, twins, { maxShardBytes: 4 }), 'BAD_OPTION', /the same name/);
    await fails(() => writeCheckpoint(folder, FIVE, { maxShardBytes: 0 }), 'BAD_OPTION', /must be above 0/);
    await fails(() => writeCheckpoint(folder, FIVE, { maxShardBytes: Number.NaN }), 'BAD_OPTION', /must be above 0/);
    await fails(() => writeCheckpoint(join(folder, 'none'), FIVE), 'FILE_NOT_FOUND', /does not exist/);
    assert.equal(await readdir(folder), []);
  }));

const one = (name: string) => safetensors(GOOD.replace('"a"', `"${name}"`), 8);
const index = (map: unknown) => JSON.stringify({ metadata: {}, weight_map: map });
const INDEX = 'model.safetensors.index.json';

const BAD_SHARDS: [what: string, files: Record<string, string | Buffer>, message: RegExp][] = [
  ['an empty index', { [INDEX]: '' }, /not valid JSON/],
  ['an index that is not JSON', { [INDEX]: '{' }, /not valid JSON/],
  ['an index that is not UTF-8', { [INDEX]: Buffer.from([0x22, 0xff, 0x22]) }, /not valid JSON/],
  ['an index without a map', { [INDEX]: '{}' }, /not a valid index: weight_map/],
  ['an index that maps nothing', { [INDEX]: index({}) }, /lists no tensors/],
  ['a shard name that is a number', { [INDEX]: index({ a: 1 }) }, /weight_map.a/],
  ['an absolute shard', { [INDEX]: index({ a: '/etc/passwd' }) }, /plain file name, not "\/etc\/passwd"/],
  ['a shard above the folder', { [INDEX]: index({ a: '../s' }) }, /plain file name, not "..\/s"/],
  ['a shard above, hidden', { [INDEX]: index({ a: 'x/../../s' }) }, /plain file name/],
  ['the folder above as a shard', { [INDEX]: index({ a: '..' }) }, /plain file name/],
  ['a shard of a zero byte', { [INDEX]: index({ a: 'x\0' }) }, /plain file name/],
  ['a shard with a name of 300,000 characters', { [INDEX]: index({ a: 'x'.repeat(300_000) }) }, /^.{0,500}$/s],
  ['a shard without a name', { [INDEX]: index({ a: '' }) }, /plain file name/],
  ['a tensor that its shard lacks', { [INDEX]: index({ a: 's', b: 's' }), s: one('a') }, /lacks tensor "b"/],
  [
    'a tensor that the index lacks',
    {
      [INDEX]: index({ a: 's', c: 't' }),
      s: one('a'),
      t: safetensors(two('[0,8]', '[8,16]').replace('"a"', '"c"'), 16),
    },
    /"b", which .* puts nowhere/,
  ],
  [
    'a tensor in two shards',
    { [INDEX]: index({ a: 's', b: 't' }), s: one('a'), t: one('a') },
    /"a", which .* puts in "s"/,
  ],
  ['a shard that is malformed', { [INDEX]: index({ a: 's' }), s: 'x' }, /s' is not a valid safetensors file/],
];

for (const [what, files, message] of BAD_SHARDS) {
  test(`refuses ${what}`, () =>
    inFolder(files, (folder) => fails(() => readCheckpoint(folder), 'BAD_SAFETENSORS', message)));
}

test('says what a folder without weights lacks', () =>
  inFolder({ 'pytorch_model.bin': '' }, async (folder) => {
    await fails(() => readCheckpoint(folder), 'FILE_NOT_FOUND', /neither model.safetensors nor/);
    await writeFile(join(folder, INDEX), index({ a: 'gone.safetensors' }));
    await fails(() => readCheckpoint(folder), 'FILE_NOT_FOUND', /gone.safetensors' does not exist/);
  }));

test('reads every safetensors file of the shared material', async () => {
  if (!existsSync(shared('goldens'))) return console.log('shared/goldens: skipped');
  let count = 0;
  for (const name of await readdir(shared('goldens'), { recursive: true })) {
    if (!name.endsWith('.safetensors')) continue;
    const { tensors } = await readSafetensors(shared(`goldens/${name}`));
    assert.ok(tensors.size > 0, name);
    count++;
  }
  assert.ok(count > 0);
});

test.run();
