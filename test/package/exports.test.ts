/** What a user of the library sees: dist/index.d.ts and the declarations behind it, as the build makes them. */
import { basename, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const exported = suite('exports');
const root = fileURLToPath(new URL('../..', import.meta.url));
const dist = join(root, 'dist');
const declarations = emitDeclarations();
const program = openDeclarations();
const checker = program.getTypeChecker();
const index = checker.getSymbolAtLocation(program.getSourceFile(join(dist, 'index.d.ts'))!)!;
const symbols = checker.getExportsOfModule(index).map(resolve);

/** The declarations that the build writes, by path. */
function emitDeclarations(): Map<string, string> {
  const path = join(root, 'tsconfig.build.json');
  const { fileNames, options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(path, ts.sys.readFile).config,
    ts.sys,
    root,
  );
  const files = new Map<string, string>();
  const compiler = ts.createProgram(fileNames, { ...options, emitDeclarationOnly: true });
  compiler.emit(undefined, (name, text) => files.set(name, text));
  return files;
}

/** A user's program that imports the package, and has its declarations checked, too. */
function openDeclarations(): ts.Program {
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  const folders = new Set([...declarations.keys()].map(dirname));
  host.directoryExists = (name) => folders.has(name) || ts.sys.directoryExists(name);
  host.fileExists = (name) => declarations.has(name) || (!name.startsWith(dist + sep) && fileExists(name));
  host.readFile = (name) => declarations.get(name) ?? readFile(name);
  host.getSourceFile = (name, ...rest) => {
    const text = declarations.get(name);
    return text === undefined
      ? getSourceFile.call(host, name, ...rest)
      : ts.createSourceFile(name, text, {
          languageVersion: ts.ScriptTarget.ES2022,
          impliedNodeFormat: ts.ModuleKind.ESNext,
        });
  };
  return ts.createProgram([join(dist, 'index.d.ts')], options, host);
}

function resolve(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

const isOurs = (node: ts.Node) => declarations.has(node.getSourceFile().fileName);

/** Types of the package that declarations name, and who names them, wherever a user can get to them. */
function* reachable(from: readonly ts.Symbol[]): Generator<{ symbol: ts.Symbol; by: string }> {
  const seen = new Set(from);
  const queue = [...from];
  for (let symbol = queue.shift(); symbol; symbol = queue.shift()) {
    for (const declaration of (symbol.declarations ?? []).filter(isOurs)) {
      for (const named of namedIn(declaration)) {
        if (seen.has(named)) continue;
        seen.add(named);
        queue.push(named);
        yield { symbol: named, by: symbol.name };
      }
    }
  }
}

function* namedIn(node: ts.Node): Generator<ts.Symbol> {
  // Private members are written without a type.
  const name = ts.isTypeReferenceNode(node)
    ? node.typeName
    : ts.isExpressionWithTypeArguments(node)
      ? node.expression
      : ts.isImportTypeNode(node)
        ? node.qualifier
        : ts.isTypeQueryNode(node)
          ? node.exprName
          : undefined;
  const symbol = name && checker.getSymbolAtLocation(name);
  if (symbol && !(symbol.flags & ts.SymbolFlags.TypeParameter)) yield resolve(symbol);
  for (const child of node.getChildren()) yield* namedIn(child);
}

exported('the declarations stand by themselves, checked without skipLibCheck', () => {
  assert.ok(declarations.size > 100, `${declarations.size} files`);
  const ours = ts.getPreEmitDiagnostics(program).filter(({ file }) => file && declarations.has(file.fileName));
  const faults = ours.map(
    ({ file, messageText }) => `${basename(file!.fileName)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
  );
  assert.equal(faults, []);
});

exported('every type that a user can get to is exported itself', () => {
  const missing: string[] = [];
  for (const { symbol, by } of reachable(symbols)) {
    const declaration = symbol.declarations?.find(isOurs);
    const isType = symbol.flags & ts.SymbolFlags.Type;
    if (!declaration || !isType || symbols.includes(symbol)) continue;
    missing.push(
      `${symbol.name} (${basename(dirname(declaration.getSourceFile().fileName))}/${basename(declaration.getSourceFile().fileName)}), of ${by}`,
    );
  }
  assert.equal(missing, []);
});

exported('editors show what the options are: types that can be read, and doc comments', () => {
  const places: string[] = [];
  const bare: string[] = [];
  for (const symbol of symbols.filter(({ name, flags }) => name.endsWith('Options') && flags & ts.SymbolFlags.Type)) {
    for (const option of checker.getDeclaredTypeOfSymbol(symbol).getProperties()) {
      const place = `${symbol.name}.${option.name}`;
      places.push(place);
      const type = checker.typeToString(checker.getTypeOfSymbol(option));
      assert.not.match(type, /Zod|\bz\.|any|unknown\b(?!>)/, place);
      if (option.getDocumentationComment(checker).length === 0) bare.push(place);
    }
  }
  assert.equal(bare, [], 'options without a doc comment');
  for (const place of ['TrainOptions.beta1', 'TrainOptions.folder', 'StitchOptions.gate', 'DeviceOptions.precision']) {
    assert.ok(places.includes(place), place);
  }
});

exported('nothing internal is declared', () => {
  const internal = [...declarations].filter(([, text]) => text.includes('@internal')).map(([name]) => name);
  assert.equal(internal, []);
});

exported.run();
