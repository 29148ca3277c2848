import { createContext, Script } from 'node:vm';
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { BtsError } from '../../errors.js';
import { badTokenizer } from './bad-tokenizer.js';
import { formatTime } from './format-time.js';

/** One turn of a conversation. Which roles and further fields there may be is up to the template. */
export interface ChatMessage {
  role: string;
  content?: unknown;
  readonly [field: string]: unknown;
}

export interface ChatOptions {
  /** Whether the text ends where the model's answer is to begin; default false. */
  addGenerationPrompt?: boolean;
  /** Functions that the model may call, as JSON schemas. */
  tools?: readonly object[];
  /** Documents that the answer may rest on. */
  documents?: readonly object[];
  /**
   * Which template is taken where there are several, by its name, or the text of another one; default: 'tool_use' where
   * there is one and tools are given, else 'default'.
   */
  template?: string;
  /** What else the template reads, such as `enable_thinking` or `date_string`. */
  variables?: Readonly<Record<string, unknown>>;
}

/** What a template may take; real ones need a millisecond. */
const MAX_RENDER_MS = 5000;
/** As much as Jinja's sandbox allows. */
const MAX_RANGE = 100_000;

/**
 * The text that a chat template makes of a conversation, as transformers renders it; but booleans, None and lists that a
 * template prints bare come as JSON and not as Python writes them.
 *
 * @param specials the names and contents of special tokens that templates read, such as `bos_token`
 * @throws BAD_TOKENIZER where there is no template, or it is malformed, fails or does not end; BAD_OPTION where it refuses
 *   the conversation, or has not the name asked for
 */
export function renderChat(
  templates: ReadonlyMap<string, string>,
  specials: Readonly<Record<string, string>>,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): string {
  const { addGenerationPrompt = false, tools = null, documents = null, variables = {} } = options;
  if (messages.length === 0) throw new BtsError('BAD_OPTION', 'a conversation has one message at least.');
  const source = chooseTemplate(templates, options);
  const program = compile(source);
  const environment = new Environment();
  const values = {
    ...GLOBALS,
    ...specials,
    messages,
    tools,
    documents,
    add_generation_prompt: addGenerationPrompt,
    ...variables,
  };
  for (const [name, value] of Object.entries(values)) environment.set(name, value);
  try {
    return withinTime(() => new Interpreter(environment).run(program).toString());
  } catch (cause) {
    if (cause instanceof BtsError) throw cause;
    throw badTokenizer(`the chat template fails: ${(cause as Error).message}.`, cause);
  }
}

function chooseTemplate(templates: ReadonlyMap<string, string>, { template, tools }: ChatOptions): string {
  const names = [...templates.keys()].join(', ');
  if (template !== undefined) {
    const named = templates.get(template);
    if (named !== undefined) return named;
    if (/\{[{%]/.test(template)) return template;
    throw new BtsError('BAD_OPTION', `there is no chat template '${template}', but ${names || 'none at all'}.`);
  }
  const chosen = (tools ? templates.get('tool_use') : undefined) ?? templates.get('default');
  if (chosen !== undefined) return chosen;
  throw badTokenizer(
    names
      ? `of the chat templates ${names} none is the default: name one.`
      : 'the tokenizer has no chat template, neither in tokenizer_config.json nor in chat_template.jinja: ' +
          'it belongs to a model that continues texts. Pass a template, or plain text.',
  );
}

function compile(source: string): ReturnType<typeof parse> {
  try {
    return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  } catch (cause) {
    throw badTokenizer(`the chat template is malformed: ${(cause as Error).message}.`, cause);
  }
}

/** What every template knows. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range: limitedRange,
  strftime_now: (format: string) => formatTime(new Date(), format),
  raise_exception: (message: unknown) => {
    throw new BtsError('BAD_OPTION', `the chat template refuses the conversation: ${String(message)}`);
  },
};

function limitedRange(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() has ${length} numbers, ${MAX_RANGE} at most are allowed`);
  return Array.from({ length }, (_, i) => start + i * step);
}

const CALL = new Script('render()');

/** Runs `render`, which is stopped where it does not end: templates come with a model, from anyone. */
function withinTime(render: () => string): string {
  try {
    return CALL.runInContext(createContext({ render }), { timeout: MAX_RENDER_MS });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw badTokenizer(`the chat template did not end within ${MAX_RENDER_MS / 1000} s.`, cause);
  }
}
