import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BYTE_CHARACTERS } from '../../../lib/data/tokenizer/byte-level.js';
import { Tokenizer } from '../../../lib/data/tokenizer.js';
import {
  byteLevel,
  bytePretokenizer,
  file,
  llamaNormalizer,
  metaspace,
  pairs,
  sentencePiece,
  sequence,
  split,
} from '../../data/tokenizer-fixtures.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import { expectTyped, put, type Target } from '../target.js';

const added = [
  { content: '<s>', special: true },
  { content: '<|end|>', special: true, lstrip: true, single_word: true },
  { content: 'word', normalized: true, rstrip: true },
];
const frame = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [],
  special_tokens: { '<s>': { id: '<s>', ids: [256], tokens: ['<s>'] } },
};
const LLAMA3 =
  "(?i:'s|'t|'re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const SEEDS = [
  file([...'abc'], pairs('a+b ab+c'), { added }),
  byteLevel({ added }),
  byteLevel({ pre_tokenizer: sequence(split(LLAMA3), bytePretokenizer({ use_regex: false })) }),
  sentencePiece({ normalizer: llamaNormalizer, added: [added[0]!] }),
  sentencePiece({ pre_tokenizer: metaspace('first', true) }),
  file([...BYTE_CHARACTERS], [], { added: [added[0]!], post_processor: frame }),
];
const SETTINGS = [
  {
    tokenizer_class: 'LlamaTokenizerFast',
    bos_token: '<s>',
    eos_token: { content: '<|end|>', lstrip: false },
    add_bos_token: true,
    add_prefix_space: false,
    legacy: false,
    split_special_tokens: false,
    added_tokens_decoder: { '256': { content: '<s>', special: true } },
    additional_special_tokens: ['word'],
    chat_template: "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
  },
  { tokenizer_class: 'GPT2Tokenizer', chat_template: [{ name: 'default', template: '{{ messages }}' }] },
];
const IDS = [{ bos_token_id: 0, eos_token_id: [1, 2] }];

const TEXTS = ["Hello  world, it's 123 é\n\n<s>word <|end|>", 'abcab the \u{1f600}\ud800', ''];
const MESSAGES = [{ role: 'user', content: 'abc' }];
const BESIDE = {
  'tokenizer_config.json': SETTINGS,
  'special_tokens_map.json': [{ bos_token: '<s>' }],
  'generation_config.json': IDS,
  'config.json': [{ model_type: 'llama', ...IDS[0] }],
};

export const target: Target = {
  words: [
    '"Regex"',
    '"Split"',
    '"ByteLevel"',
    '"Metaspace"',
    '"Replace"',
    '"Sequence"',
    '(?i:',
    '\\\\p{L}',
    '"merges"',
  ],
  seeds: () => SEEDS.flatMap((_, seed) => [Buffer.of(0, 0, seed), Buffer.of(1, 0, 0, 0, seed)]),
  async run(data, folder) {
    const bytes = new Bytes(data);
    const beside = bytes.byte();
    for (const [index, [name, seeds]] of Object.entries(BESIDE).entries()) {
      if (beside & (1 << index)) await put(folder, name, editedJson(bytes, seeds));
      else await rm(join(folder, name), { force: true });
    }
    await put(folder, 'tokenizer.json', editedJson(bytes, SEEDS));
    await expectTyped(['BAD_TOKENIZER', 'BAD_DATA', 'BAD_OPTION'], async () => {
      const tokenizer = await Tokenizer.load(folder);
      for (const text of TEXTS) {
        const ids = tokenizer.encode(text);
        const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabularySize));
        if (wrong !== undefined) throw new Error(`${wrong} is no token`);
        tokenizer.decode(ids);
      }
      tokenizer.decode(Array.from({ length: Math.min(tokenizer.vocabularySize, 300) }, (_, id) => id));
      if (tokenizer.hasChatTemplate) tokenizer.applyChatTemplate(MESSAGES);
    });
  },
};
