//! What the editor can do, and what we tell it that we can.

use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;
use serde_json::{Value, json};

use super::uri;

/// Read from `initialize` by hand: what an editor writes beside the specification must not keep it from working.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Process of the editor; when it is gone, so are we.
    process: Option<u64>,
    pub folders: Vec<PathBuf>,
    /// Takes `${1:name}` in completions.
    pub snippets: bool,
    /// Shows further places of a diagnostic.
    pub related: bool,
    /// Tells of changed files when asked to.
    pub watches: bool,
    /// Takes symbols within symbols.
    pub nested: bool,
}

impl Client {
    pub fn of(params: &Value) -> Self {
        let can =
            |path: &str| params.pointer(&format!("/capabilities/{path}")).and_then(Value::as_bool).unwrap_or(false);
        let mut folders = Self::folders_of(&params["workspaceFolders"]);
        if folders.is_empty()
            && let Some(root) = params["rootUri"].as_str()
        {
            folders.push(uri::to_path(&Uri(root.to_owned())));
        }
        Self {
            process: params["processId"].as_u64(),
            folders,
            snippets: can("textDocument/completion/completionItem/snippetSupport"),
            related: can("textDocument/publishDiagnostics/relatedInformation"),
            watches: can("workspace/didChangeWatchedFiles/dynamicRegistration"),
            nested: can("textDocument/documentSymbol/hierarchicalDocumentSymbolSupport"),
        }
    }

    /// The paths of a list of workspace folders.
    pub fn folders_of(list: &Value) -> Vec<PathBuf> {
        let uris = list.as_array().into_iter().flatten().filter_map(|f| f["uri"].as_str());
        uris.map(|u| uri::to_path(&Uri(u.to_owned()))).filter(|p| p.is_absolute()).collect()
    }

    /// False when the editor's process has ended. Where processes cannot be looked up, the end of input tells.
    pub fn alive(&self) -> bool {
        let Some(process) = self.process else { return true };
        !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{process}")).exists()
    }

    /// The result of `initialize`.
    pub fn welcome(&self) -> Value {
        json!({
            "serverInfo": {"name": "cutover", "version": env!("CARGO_PKG_VERSION")},
            "capabilities": {
                "positionEncoding": "utf-16",
                "textDocumentSync": {"openClose": true, "change": 2, "save": {"includeText": false}},
                "completionProvider": {"triggerCharacters": ["=", "(", "\"", "$", "{", ":", " "]},
                "hoverProvider": true,
                "definitionProvider": true,
                "referencesProvider": true,
                "documentHighlightProvider": true,
                "renameProvider": {"prepareProvider": true},
                "documentFormattingProvider": true,
                "documentSymbolProvider": true,
                "workspaceSymbolProvider": true,
                "foldingRangeProvider": true,
                "inlayHintProvider": true,
                "codeActionProvider": {"codeActionKinds": ["quickfix"]},
                "workspace": {"workspaceFolders": {"supported": true, "changeNotifications": true}},
            },
        })
    }
}
