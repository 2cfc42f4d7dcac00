//! What a detection asks for, as the Sigma specification says it, compiled for the Sigma library.
//!
//! ```text
//! parsed rule ──▶ shape ──▶ (rule as checked, kept and explained) ──▶ item ──▶ matchers of the library
//! ```
//!
//! The library compiles whatever it matches as specified, which is nearly all that people write. What it
//! would match otherwise is compiled here from the library's own parts: [`shape`] for what concerns a whole
//! selection, [`item`] for one field, and [`event`] for what is read. What cannot be matched as specified is refused with its remedy. This is
//! the only room that asks the library to compile. `tests/conformance` holds it to the specification, sentence
//! by sentence. Absent: places in a file (see [`super::load`]), and sets of rules (see [`super::evaluate`]).

mod encoding;
mod event;
mod item;
mod number;
mod refuse;
mod shape;
mod text;

use std::sync::Arc;

use rsigma_eval::{CompiledDetection, CompiledRule};
use rsigma_parser::{Detection, SigmaRule};

pub(super) use shape::{asks_for_absence, detections, is_null_guard, is_one_equality, matches_name};

/// Why something cannot be matched as the specification says.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Refused {
    pub(super) why: String,
    /// What to write instead.
    pub(super) hint: Option<String>,
}

impl Refused {
    fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { why: why.into(), hint: Some(hint.into()) }
    }
}

impl From<rsigma_eval::EvalError> for Refused {
    fn from(error: rsigma_eval::EvalError) -> Self {
        Self { why: error.to_string(), hint: None }
    }
}

/// A rule whose detections went through [`detections`], ready to be asked. It keeps what answers are told
/// apart and explained by; the library would copy anything more into each answer.
///
/// # Errors
/// What it asks for that cannot be matched.
pub(super) fn compile_rule(rule: &SigmaRule) -> Result<CompiledRule, Refused> {
    let named = rule.detection.named.iter();
    let detections = named.map(|(name, part)| Ok((name.clone(), compile_detection(part)?)));
    Ok(CompiledRule {
        title: rule.title.clone(),
        id: rule.id.clone(),
        level: rule.level,
        tags: Vec::new(),
        description: None,
        falsepositives: Vec::new(),
        logsource: rule.logsource.clone(),
        detections: detections.collect::<Result<_, Refused>>()?,
        conditions: rule.detection.conditions.clone(),
        include_event: false,
        custom_attributes: Arc::default(),
    })
}

/// One selection, or a part of it.
///
/// # Errors
/// What it asks for that cannot be matched.
pub(super) fn compile_detection(detection: &Detection) -> Result<CompiledDetection, Refused> {
    compile(detection, Scope::Event)
}

/// What a field's name, and the absence of one, refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The event; without a name, any text in it.
    Event,
    /// A member of a list; without a name, the member itself.
    Member,
}

fn compile(detection: &Detection, scope: Scope) -> Result<CompiledDetection, Refused> {
    let all = |parts: &[Detection]| parts.iter().map(|part| compile(part, scope)).collect::<Result<Vec<_>, _>>();
    Ok(match detection {
        Detection::AllOf(items) => match items.iter().all(|asked| item::is_as_specified(asked, scope)) {
            true => rsigma_eval::compiler::compile_detection(detection)?,
            false => {
                let items = items.iter().map(|asked| item::compile(asked, scope));
                CompiledDetection::AllOf(items.collect::<Result<_, _>>()?)
            }
        },
        Detection::AnyOf(parts) => CompiledDetection::AnyOf(all(parts)?),
        Detection::And(parts) => CompiledDetection::And(all(parts)?),
        Detection::Keywords(values) => CompiledDetection::Keywords(item::words(values)?),
        Detection::ArrayMatch { field, quantifier, body } => CompiledDetection::ArrayMatch {
            field: field.clone(),
            quantifier: *quantifier,
            body: Box::new(compile(body, Scope::Member)?),
        },
        Detection::Conditional { named, condition } => {
            let named = named.iter().map(|(name, part)| Ok((name.clone(), compile(part, scope)?)));
            CompiledDetection::Conditional {
                named: named.collect::<Result<_, Refused>>()?,
                condition: condition.clone(),
            }
        }
    })
}
