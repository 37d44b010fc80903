// The grammar as an editor runs it (vscode-textmate and oniguruma): which scope each word of an example gets.
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const oniguruma = require("vscode-oniguruma");
const { INITIAL, Registry, parseRawGrammar } = require("vscode-textmate");

const home = path.join(__dirname, "..");
const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));

const example = `language 1
// a comment, then a range and a variable
server "mbx-[1:3]" platform=ex memory="64GiB" { roles mailbox hub; }
variable net type=string default="10.\${net}.1"
(patch)dag dag1 { (add)members "x"; replay-lag $lag }
connection c password=(secret)"env:PASS" port=22 { become sudo; }
site تهران hub=#true /- gone=1
/* a block
   /* in a block */ still */ site cork
note #"raw "text" $not"# """
   three "lines" of $text
   """
site galway \\
    location="far"
`;

// Line, word, and a scope that it must have.
const wanted = [
  [0, "language", "entity.name.tag"],
  [0, "1", "constant.numeric"],
  [1, "a comment", "comment.line"],
  [2, "server", "entity.name.tag"],
  [2, "[1:3]", "constant.other.range"],
  [2, "platform", "variable.parameter.key"],
  [2, "ex", "string.unquoted"],
  [2, "64GiB", "string.quoted.double"],
  [2, "roles", "entity.name.tag"],
  [2, "hub", "string.unquoted"],
  [3, "${net}", "variable.other"],
  [4, "patch", "keyword.control.verb"],
  [4, "dag", "entity.name.tag"],
  [4, "dag1", "string.unquoted"],
  [4, "add", "keyword.control.verb"],
  [4, "$lag", "variable.other"],
  [5, "secret", "storage.type.annotation"],
  [5, "env:PASS", "string.quoted.double"],
  [5, "22", "constant.numeric"],
  [6, "تهران", "string.unquoted"],
  [6, "#true", "constant.language"],
  [6, "/-", "comment.block.slashdash"],
  [8, "still", "comment.block"],
  [8, "site", "entity.name.tag"],
  [9, "$not", "string.quoted.other.raw"],
  [10, "lines", "string.quoted.triple"],
  [10, "$text", "variable.other"],
  [12, "site", "entity.name.tag"],
  [13, "location", "variable.parameter.key"],
  [13, "far", "string.quoted.double"],
];

async function main() {
  await oniguruma.loadWASM(wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength));
  const registry = new Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async (scope) => {
      assert.strictEqual(scope, "source.kdl");
      const file = path.join(home, "syntaxes/kdl.tmLanguage.json");
      return parseRawGrammar(fs.readFileSync(file, "utf8"), file);
    },
  });
  const grammar = await registry.loadGrammar("source.kdl");
  const scopes = (text) => {
    let stack = INITIAL;
    return text.split("\n").map((line) => {
      const { tokens, ruleStack } = grammar.tokenizeLine(line, stack);
      stack = ruleStack;
      return { line, tokens };
    });
  };
  const lines = scopes(example);
  const wrong = [];
  for (const [at, word, scope] of wanted) {
    const { line, tokens } = lines[at];
    const start = line.indexOf(word);
    const token = tokens.find((t) => t.startIndex <= start && start < t.endIndex);
    if (start < 0 || !token?.scopes.some((s) => s.startsWith(scope))) {
      wrong.push(`line ${at + 1}: ${word} is ${token?.scopes.join(" ")}, not ${scope}`);
    }
  }
  // No state is left open at the end of a file that is whole: what an editor would draw wrong from there on.
  let files = 0;
  const folder = path.join(home, "../../../examples");
  if (fs.existsSync(folder)) {
    for (const name of fs.readdirSync(folder, { recursive: true }).filter((n) => n.endsWith(".kdl"))) {
      const text = fs.readFileSync(path.join(folder, name), "utf8");
      const last = scopes(`${text}\nsite end`).at(-1).tokens;
      if (!last.some((t) => t.scopes.length === 2 && t.scopes[1].startsWith("entity.name.tag"))) {
        wrong.push(`${name}: something is open at its end: ${last.map((t) => t.scopes.join(" "))}`);
      }
      files += 1;
    }
  }
  assert.deepStrictEqual(wrong, []);
  console.log(`grammar: ${wanted.length} words have their scopes, ${files} example files end with nothing open`);
}

main();
