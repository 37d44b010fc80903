//! Reads the contents of a batch right before it is sent.

use zeroize::Zeroizing;

use crate::model::attr::{Attr, Content, Digest, Segment};
use crate::model::plan::Plan;
use crate::model::step::{Action, Step, StepId};
use crate::secret::Resolve;

/// Contents by step, in the order of the batch.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub ready: Vec<(StepId, Option<Zeroizing<Vec<u8>>>)>,
    /// Content that could not be read, with the reason.
    pub failed: Vec<(StepId, String)>,
    /// The batch was full before these.
    pub unsent: Vec<StepId>,
}

/// Reads contents until `most_bytes` are held; at least one step is always ready or failed.
pub(super) async fn prepare<R: Resolve>(
    resolve: &R,
    plan: &Plan,
    state_key: &str,
    steps: &[StepId],
    most_bytes: usize,
) -> Prepared {
    let mut out = Prepared::default();
    let mut held = 0;
    for (i, id) in steps.iter().enumerate() {
        if held >= most_bytes {
            out.unsent = steps[i..].to_vec();
            break;
        }
        let Some(step) = plan.steps.get(*id as usize) else { continue };
        match content(resolve, plan, state_key, step).await {
            Ok(bytes) => {
                held += bytes.as_ref().map_or(0, |b| b.len());
                out.ready.push((*id, bytes));
            }
            Err(why) => out.failed.push((*id, why)),
        }
    }
    out
}

/// The content attribute of a step that writes one.
fn wanted(step: &Step) -> Option<&Content> {
    match step.action {
        Action::Create | Action::Update | Action::Replace | Action::Run => step.attrs.values().find_map(|a| match a {
            Attr::Content(c) => Some(c),
            _ => None,
        }),
        Action::Delete | Action::Reload | Action::Restart | Action::Restore | Action::Wait | Action::Move => None,
    }
}

async fn content<R: Resolve>(
    resolve: &R,
    plan: &Plan,
    state_key: &str,
    step: &Step,
) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let Some(wanted) = wanted(step) else { return Ok(None) };
    let Some(body) = plan.bodies.get(&wanted.id) else {
        return Err(format!(
            "the plan does not hold the content {} of {}; make a new plan",
            wanted.id.short(),
            step.address
        ));
    };
    let bytes = resolve.content(body).await.map_err(|e| match &e.help {
        Some(help) => format!("{e} ({help})"),
        None => e.to_string(),
    })?;
    // Text stands in the plan itself; what is read now must still be what the plan saw.
    if body.segments.iter().any(|s| !matches!(s, Segment::Text(_))) {
        let digest = match wanted.sensitive {
            true => Digest::masked(state_key, &bytes),
            false => Digest::of(&bytes),
        };
        if wanted.digest.as_ref().is_some_and(|d| *d != digest) {
            return Err(format!(
                "the content of {} is not what it was when the plan was made; make a new plan",
                step.address
            ));
        }
    }
    Ok(Some(bytes))
}
