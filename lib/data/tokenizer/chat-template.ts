import { BtsError } from '../../base/errors.js';
import { expectOptions, type OptionNames } from '../../base/options-check.js';
import { Environment } from '../../jinja/environment.js';
import { filter } from '../../jinja/filter-call.js';
import { Template } from '../../jinja/template.js';
import { bind, expectIndex, expectText } from '../../python/call.js';
import { jsonLoads, toJson } from '../../python/json.js';
import { str } from '../../python/repr.js';
import { Callable, isTruthy, toList, type Value } from '../../python/values.js';
import { withinTime } from '../../python/within-time.js';
import { badTokenizer } from './bad-tokenizer.js';
import { formatTime } from './format-time.js';

/** To read and render a template, which takes milliseconds: a server answers nobody meanwhile. */
const LONGEST_MS = 1000;

/** One turn of a conversation. Which roles and further fields there may be is up to the template. */
export interface ChatMessage {
  /** Who speaks: `user`, `assistant`, `system`, or what the template knows. */
  role: string;
  /** What is said: a text, or what the template takes. */
  content?: unknown;
  readonly [field: string]: unknown;
}

/** How a conversation becomes a text. */
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

const CHAT_OPTIONS: OptionNames<ChatOptions> = {
  addGenerationPrompt: true,
  tools: true,
  documents: true,
  template: true,
  variables: true,
};

/** Jinja as transformers sets it up for chat templates. */
const ENVIRONMENT = new Environment({
  trimBlocks: true,
  lstripBlocks: true,
  filters: {
    // Jinja's own would write `<` and others as escapes.
    tojson: filter(['ensure_ascii?', 'indent?', 'separators?', 'sort_keys?'], (value, options) => {
      const [ensureAscii = false, indent = null, separators = null, sortKeys = false] = options;
      return toJson(value, {
        ensureAscii: isTruthy(ensureAscii),
        indent: indent === null ? undefined : ' '.repeat(expectIndex(indent, 'indent')),
        separators: separators === null ? undefined : (toList(separators).map(str) as [string, string]),
        sortKeys: isTruthy(sortKeys),
      });
    }),
  },
  globals: {
    raise_exception: new Callable('raise_exception', ([message = null]) => {
      throw new BtsError('BAD_OPTION', `the chat template refuses the conversation: ${str(message)}`);
    }),
    strftime_now: new Callable('strftime_now', (args, keywords) => {
      const [format] = bind('strftime_now', ['format'], args, keywords);
      return formatTime(new Date(), expectText(format, 'strftime_now()'));
    }),
  },
});

/**
 * The text that a chat template makes of a conversation, as transformers renders it.
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
  expectOptions('applyChatTemplate', options, CHAT_OPTIONS);
  const { addGenerationPrompt = false, tools = null, documents = null } = options;
  if (messages.length === 0) throw new BtsError('BAD_OPTION', 'a conversation has one message at least.');
  const source = chooseTemplate(templates, options);
  const values = {
    ...specials,
    messages,
    tools,
    documents,
    add_generation_prompt: addGenerationPrompt,
    ...options.variables,
  };
  try {
    const variables = new Map(Object.entries(values).map(([name, value]) => [name, toValue(value)]));
    return withinTime(
      () => compile(source).render(variables),
      (seconds) => badTokenizer(`the chat template did not end within ${seconds} s.`),
      LONGEST_MS,
    );
  } catch (cause) {
    if (cause instanceof BtsError) throw cause;
    throw badTokenizer(`the chat template fails: ${(cause as Error).message}.`, cause);
  }
}

/** As Python reads the JSON of it. */
function toValue(value: unknown): Value {
  return jsonLoads(JSON.stringify(value) ?? 'null');
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

function compile(source: string): Template {
  try {
    return new Template(source, ENVIRONMENT);
  } catch (cause) {
    throw badTokenizer(`the chat template is malformed: ${(cause as Error).message}.`, cause);
  }
}
