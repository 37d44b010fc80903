// The packaged client starts the real server: the module `vscode` is a stand-in, everything behind it is not. What an editor draws
// is not tested here.
const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const Module = require("node:module");
const os = require("node:os");
const path = require("node:path");

const program = process.env.CUTOVER ?? "cutover";
const known = spawnSync(program, ["--version"]);
assert.ok(known.status === 0, `${program} does not run: name it in CUTOVER`);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "cutover-vscode-"));
const file = path.join(folder, "topology.kdl");
fs.writeFileSync(file, "language 1\nsite dublin hubb=#true\n");

class Uri {
  constructor(fsPath) {
    Object.assign(this, { scheme: "file", authority: "", path: fsPath, query: "", fragment: "", fsPath });
  }
  static file(p) { return new Uri(p); }
  static parse(text) { return new Uri(decodeURIComponent(text.replace(/^file:\/\//, ""))); }
  toString() { return `file://${this.path}`; }
}
class Position { constructor(line, character) { Object.assign(this, { line, character }); } }
class Range {
  constructor(a, b, c, d) {
    this.start = a instanceof Position ? a : new Position(a, b);
    this.end = a instanceof Position ? b : new Position(c, d);
  }
}
class Emitter {
  constructor() { this.heard = []; this.event = (f) => (this.heard.push(f), { dispose() {} }); }
  fire(e) { this.heard.forEach((f) => f(e)); }
  dispose() {}
}
class Cancel { constructor() { this.token = { isCancellationRequested: false, onCancellationRequested: () => ({ dispose() {} }) }; } cancel() {} dispose() {} }
class Plain { constructor(...given) { this.given = given; } }
class CodeActionKind { constructor(value) { this.value = value; } append(part) { return new CodeActionKind(`${this.value}.${part}`); } }
CodeActionKind.Empty = new CodeActionKind("");
class Diagnostic { constructor(range, message, severity) { Object.assign(this, { range, message, severity }); } }

const opened = new Emitter();
const shown = new Map();
let told = () => {};
const errors = [];
const nothing = () => ({ dispose() {} });
const text = fs.readFileSync(file, "utf8");
const document = {
  uri: Uri.file(file), languageId: "kdl", version: 1, fileName: file, isClosed: false, isDirty: false,
  getText: () => text, lineCount: text.split("\n").length,
};

// What the language client asks of an editor; a name that is not here is an event or a registration that never speaks.
const loose = (own) => new Proxy(own, {
  get: (o, key) => (key in o ? o[key] : typeof key === "string" && key !== "then" ? nothing : undefined),
});
const vscode = new Proxy({
  Uri, Position, Range, Diagnostic, EventEmitter: Emitter, CancellationTokenSource: Cancel, CodeActionKind,
  CancellationError: class extends Error {}, version: "1.91.0",
  DiagnosticSeverity: { Error: 0, Warning: 1, Information: 2, Hint: 3 },
  DiagnosticTag: { Unnecessary: 1, Deprecated: 2 },
  env: { language: "en", appName: "stand-in", appHost: "desktop", isTelemetryEnabled: false },
  Disposable: class { constructor(f) { this.dispose = f ?? (() => {}); } static from() { return { dispose() {} }; } },
  workspace: loose({
    textDocuments: [document], workspaceFolders: [{ uri: Uri.file(folder), name: "t", index: 0 }], notebookDocuments: [],
    getConfiguration: () => ({ get: (key, fallback) => (key === "path" ? program : fallback), inspect: () => undefined }),
    onDidOpenTextDocument: opened.event,
    getWorkspaceFolder: () => undefined, createFileSystemWatcher: () => loose({ dispose() {} }),
  }),
  window: loose({
    createOutputChannel: () => loose({ append() {}, appendLine(l) { if (process.env.TRACE) console.error(l); }, dispose() {} }),
    showErrorMessage: async (message, ...more) => (process.env.TRACE && console.error(message, ...more), void errors.push(message)),
    visibleTextEditors: [], activeTextEditor: undefined, tabGroups: loose({ all: [] }),
  }),
  languages: loose({
    match: (selector, d) => (d.languageId === "kdl" ? 10 : 0),
    createDiagnosticCollection: () => ({
      set: (uri, list) => { shown.set(uri.toString(), list); told(); },
      delete() {}, clear() {}, dispose() {},
    }),
  }),
  commands: loose({ registerCommand: nothing }),
}, { get: (o, key) => (key in o ? o[key] : (o[key] = class extends Plain {})) });

const load = Module._load;
Module._load = (name, ...rest) => (name === "vscode" ? vscode : load(name, ...rest));

async function main() {
  const client = require(path.join(__dirname, "../dist/client.js"));
  const late = setTimeout(() => { console.error("the server said nothing for 20 s", errors); process.exit(1); }, 20_000);
  const heard = new Promise((done) => { told = () => shown.get(document.uri.toString())?.length && done(); });
  await client.activate({ subscriptions: [] });
  assert.deepStrictEqual(errors, []);
  await heard;
  const [first] = shown.get(document.uri.toString());
  assert.strictEqual(first.code?.value ?? first.code, "E0102");
  assert.deepStrictEqual([first.range.start.line, first.range.start.character], [1, 12]);
  await client.deactivate();
  clearTimeout(late);
  fs.rmSync(folder, { recursive: true });
  console.log(`client: ${program} lsp was started, sent ${first.code?.value ?? first.code} for the open file, and was stopped`);
}

main();
