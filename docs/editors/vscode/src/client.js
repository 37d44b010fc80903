// Starts `cutover lsp` and joins it to the editor. All that is known of the language is in the server.
const { workspace, window, commands } = require("vscode");
const { LanguageClient, TransportKind } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = workspace.getConfiguration("cutover").get("path", "cutover");
  const server = { command, args: ["lsp"], transport: TransportKind.stdio };
  client = new LanguageClient(
    "cutover",
    "cutover",
    { run: server, debug: server },
    { documentSelector: [{ scheme: "file", language: "kdl" }, { scheme: "untitled", language: "kdl" }] },
  );
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    const choice = await window.showErrorMessage(
      `cutover did not start (${error.message ?? error}). Install it, or say where it is in the setting cutover.path.`,
      "Open the setting",
    );
    if (choice) {
      await commands.executeCommand("workbench.action.openSettings", "cutover.path");
    }
  }
}

async function stop() {
  const running = client;
  client = undefined;
  await running?.stop();
}

exports.activate = async (context) => {
  const restart = async () => {
    await stop();
    await start();
  };
  context.subscriptions.push(
    commands.registerCommand("cutover.restart", restart),
    workspace.onDidChangeConfiguration((e) => e.affectsConfiguration("cutover.path") && restart()),
  );
  await start();
};

exports.deactivate = stop;
