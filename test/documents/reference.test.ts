/**
 * The reference that `npm run docs` writes is whole: all that is exported has a doc comment, all of its members, and each
 * parameter of several that its type does not explain; links lead somewhere.
 */
import { join } from 'node:path';
import {
  Application,
  type DeclarationReflection,
  Logger,
  LogLevel,
  type ProjectReflection,
  ReferenceType,
  type Reflection,
  ReflectionKind,
  type SignatureReflection,
  TSConfigReader,
} from 'typedoc';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../native/packaging/root.js';

const reference = suite('reference');
const warnings: string[] = [];
let project: ProjectReflection;

class Collected extends Logger {
  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) warnings.push(message);
  }
}

reference.before(async () => {
  const options = { tsconfig: join(root, 'tsconfig.build.json') };
  const application = await Application.bootstrap(options, [new TSConfigReader()]);
  application.logger = new Collected();
  project = (await application.convert())!;
  application.validate(project);
});

const {
  Class,
  Constructor,
  Enum,
  Function: Fn,
  Interface,
  Method,
  Property,
  TypeAlias,
  Variable,
  Accessor,
} = ReflectionKind;

/** What a reader looks up, by its name. Members of a type without a name are said by the comment of what has it. */
function* entries(): Generator<DeclarationReflection> {
  const kinds = Class | Interface | Enum | Fn | TypeAlias | Variable | Property | Method | Accessor;
  for (const declaration of project.getReflectionsByKind(kinds) as DeclarationReflection[]) {
    const isOurs = declaration.sources?.some(({ fullFileName }) => fullFileName.startsWith(join(root, 'lib')));
    const inLiteral = declaration.parent?.kind === ReflectionKind.TypeLiteral;
    // [Symbol.dispose] is what it is everywhere.
    if (isOurs && !inLiteral && !declaration.name.startsWith('[')) yield declaration;
  }
}

function isDocumented(declaration: DeclarationReflection): boolean {
  const parts: (Reflection | undefined)[] = [...(declaration.signatures ?? []), declaration.getSignature];
  return declaration.hasComment() || parts.some((part) => part?.hasComment());
}

/** Whether the comment of its type says what a parameter is: a model, a device, the options of a function. */
function isExplained({ type }: { type?: unknown }): boolean {
  return type instanceof ReferenceType && type.reflection instanceof Object;
}

/** Of functions, methods and constructors that do not say the same as those they override. */
function signatures(): SignatureReflection[] {
  const all = project.getReflectionsByKind(Fn | Method | Constructor) as DeclarationReflection[];
  return all
    .filter(({ parent }) => parent?.kind !== ReflectionKind.TypeLiteral)
    .flatMap(({ signatures = [] }) => signatures)
    .filter(({ inheritedFrom, overwrites, implementationOf }) => !inheritedFrom && !overwrites && !implementationOf);
}

reference('all exports, and their members, have a doc comment', () => {
  const all = [...entries()];
  assert.ok(all.length > 800, `${all.length} entries`);
  assert.equal(
    all.filter((entry) => !isDocumented(entry)).map((entry) => entry.getFullName()),
    [],
  );
});

reference('parameters of several are described, by @param or by their type', () => {
  const bare = signatures().flatMap((signature) => {
    const { parameters = [] } = signature;
    if (parameters.length < 2) return [];
    const missing = parameters.filter((parameter) => !parameter.hasComment() && !isExplained(parameter));
    return missing.map(({ name }) => `${signature.getFullName()}: ${name}`);
  });
  assert.equal(bare, []);
});

reference('typedoc has nothing to warn of: links, names that do not exist', () => {
  assert.equal(warnings, []);
});

reference.run();
