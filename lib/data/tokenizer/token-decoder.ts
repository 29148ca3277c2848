import { isUtf8 } from 'node:buffer';
import { badTokenizer } from './bad-tokenizer.js';
import { fromByteCharacters } from './byte-level.js';
import type { Decoder } from './components.js';

/** Turns token strings into text, each piece as soon as no further token can change it. */
export interface TokenDecoder {
  push(token: string): string;
  /** What was held back. The decoder is used up. */
  end(): string;
}

/**
 * Which decoder the file's decoders are together: ByteLevel; Metaspace; or SentencePiece's, which is any Replaces, then
 * ByteFallback, Fuse and Strip, each of them once or not at all. In another order they would mean something else.
 *
 * @throws BAD_TOKENIZER for any other list
 */
export function compileDecoders(decoders: Decoder[]): () => TokenDecoder {
  const [first] = decoders;
  const names = decoders.map(({ type }) => type).join();
  if (names === 'ByteLevel') return byteLevel;
  if (first?.type === 'Metaspace' && decoders.length === 1) return () => metaspace(first);
  if (first && /^(Replace,)*(ByteFallback,)?(Fuse,(Strip,)?)?$/.test(`${names},`)) return () => sentencePiece(decoders);
  throw badTokenizer(`The decoder [${names}] cannot be reproduced exactly.`);
}

function byteLevel(): TokenDecoder {
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push: (token) => utf8.decode(fromByteCharacters(token), { stream: true }),
    end: () => utf8.decode(),
  };
}

/** Marks become spaces, but for those of the first token. */
function metaspace(decoder: Extract<Decoder, { type: 'Metaspace' }>): TokenDecoder {
  const { replacement, prepend_scheme: scheme } = decoder;
  let isFirst = scheme !== 'never';
  return {
    push(token) {
      const text = token.replaceAll(replacement, isFirst ? '' : ' ');
      isFirst = false;
      return text;
    },
    end: () => '',
  };
}

/** How SentencePiece spells a byte. */
export const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

/**
 * Byte tokens are held back until another token follows: as in the reference, a run of them is text only if all of it
 * is UTF-8, and otherwise as many U+FFFD as there are bytes.
 */
function sentencePiece(decoders: Decoder[]): TokenDecoder {
  const strip = decoders.find((decoder) => decoder.type === 'Strip');
  const hasByteFallback = decoders.some((decoder) => decoder.type === 'ByteFallback');
  let bytes: number[] = [];
  let toStrip = strip?.start ?? 0;

  const replace = (token: string): string => {
    for (const decoder of decoders) {
      if (decoder.type === 'Replace') token = token.replaceAll(decoder.pattern.String, () => decoder.content);
    }
    return token;
  };
  const takeBytes = (): string => {
    const run = Buffer.from(bytes);
    bytes = [];
    return isUtf8(run) ? run.toString('utf8') : '\ufffd'.repeat(run.length);
  };
  const stripStart = (text: string): string => {
    while (toStrip > 0 && text !== '') {
      if (!text.startsWith(strip!.content)) toStrip = 0;
      else {
        text = text.slice(strip!.content.length);
        toStrip--;
      }
    }
    return text;
  };
  return {
    push(token) {
      const text = replace(token);
      const byte = hasByteFallback ? BYTE_TOKEN.exec(text) : null;
      if (!byte) return stripStart(takeBytes() + text);
      bytes.push(Number.parseInt(byte[1]!, 16));
      return '';
    },
    end: () => stripStart(takeBytes()),
  };
}
