//! The requests that are answered, each by its module.

use std::path::PathBuf;

use gen_lsp_types as lsp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::view::View;
use super::wire::{Code, Refusal};
use super::{actions, completion, hints, hover, layout, navigate, rename, symbols};

/// What a request must wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing but the text.
    Text,
    /// Some analysis of the root.
    Names,
    /// The analysis of the texts as they are.
    Fresh,
}

pub(super) const KNOWN: [&str; 13] = [
    "textDocument/completion",
    "textDocument/hover",
    "textDocument/definition",
    "textDocument/references",
    "textDocument/documentHighlight",
    "textDocument/prepareRename",
    "textDocument/rename",
    "textDocument/formatting",
    "textDocument/documentSymbol",
    "workspace/symbol",
    "textDocument/foldingRange",
    "textDocument/inlayHint",
    "textDocument/codeAction",
];

pub(super) fn needs(method: &str) -> Needs {
    match method {
        "textDocument/formatting" | "textDocument/documentSymbol" | "textDocument/foldingRange" => Needs::Text,
        "textDocument/completion" | "textDocument/hover" | "workspace/symbol" => Needs::Names,
        _ => Needs::Fresh,
    }
}

/// The file that a request is about.
pub(super) fn path(params: &Value) -> Option<PathBuf> {
    let uri = params["textDocument"]["uri"].as_str()?;
    Some(super::uri::to_path(&lsp::Uri(uri.to_owned())))
}

pub(super) fn answer(method: &str, params: Value, view: &View) -> Result<Value, Refusal> {
    match method {
        "textDocument/completion" => {
            let p: lsp::CompletionParams = read(params)?;
            write(completion::answer(view, p.text_document_position_params.position))
        }
        "textDocument/hover" => {
            let p: lsp::HoverParams = read(params)?;
            write(hover::answer(view, p.text_document_position_params.position))
        }
        "textDocument/definition" => {
            let p: lsp::DefinitionParams = read(params)?;
            write(navigate::definition(view, p.text_document_position_params.position))
        }
        "textDocument/references" => {
            let p: lsp::ReferenceParams = read(params)?;
            let declaration = p.context.include_declaration;
            write(navigate::references(view, p.text_document_position_params.position, declaration))
        }
        "textDocument/documentHighlight" => {
            let p: lsp::DocumentHighlightParams = read(params)?;
            write(navigate::highlights(view, p.text_document_position_params.position))
        }
        "textDocument/prepareRename" => {
            let p: lsp::PrepareRenameParams = read(params)?;
            write(rename::prepare(view, p.text_document_position_params.position)?)
        }
        "textDocument/rename" => {
            let p: lsp::RenameParams = read(params)?;
            write(rename::answer(view, p.text_document_position_params.position, &p.new_name)?)
        }
        "textDocument/formatting" => write(layout::answer(view)),
        "textDocument/documentSymbol" => write(symbols::of_document(view)),
        "workspace/symbol" => write(symbols::of_workspace(view, params["query"].as_str().unwrap_or_default())),
        "textDocument/foldingRange" => write(symbols::folds(view)),
        "textDocument/inlayHint" => {
            let p: lsp::InlayHintParams = read(params)?;
            write(hints::answer(view, p.range))
        }
        "textDocument/codeAction" => {
            let p: lsp::CodeActionParams = read(params)?;
            write(actions::answer(view, p.range))
        }
        other => Err(Refusal::new(Code::MethodNotFound, format!("there is no method `{other}` here"))),
    }
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, Refusal> {
    serde_json::from_value(params).map_err(|e| Refusal::new(Code::InvalidParams, e.to_string()))
}

fn write(result: impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(result).map_err(|e| Refusal::new(Code::InternalError, e.to_string()))
}
